"""The page of a study whose arms were compared under one figure or more, and its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraph.evaluation.comparison import ArmRow, Comparison
from medgraph.report import plots
from medgraph.report.page import Picture, picture
from medgraph.report.sections import Curves, Section, write_sections
from medgraph.report.tables import RunTable, write_tables
from medgraph.report.words import interval, p_value, percent, points

Log = Sequence[Mapping[str, Any]]
"""Lines of a run's ``metrics.jsonl``."""


def write_arms_report(
    folder: Path, title: str, comparisons: Sequence[Comparison], logs: Mapping[str, Sequence[Log]], curves: Curves
) -> Path:
    """Write ``report.html`` and one table a comparison as CSV, Markdown and LaTeX.

    Args:
        folder: of the study; made if absent.
        title: heading.
        comparisons: the first one is what the study is about.
        logs: of the runs by arm.
        curves: what is shown of them.
    """
    seeds = len(comparisons[0].rows[0].values)
    warnings = ["Fewer than five seeds: small differences cannot be told from the luck of a seed."] if seeds < 5 else []
    overview = Section("overview", "Overview", "All that was measured; each figure has a section below.",
                       tables=[overview_table(comparisons)], warnings=warnings)  # fmt: skip
    drawn = [figure for name, series in curves for key, label in series.items()
             if (figure := _arm_curves(logs, f"{name}: {label}" if len(series) > 1 else name, key))]  # fmt: skip
    during = Section("curves", "During training", "Every seed faint, the mean of the seeds strong.", drawn)
    sections = [overview, *map(_compared, comparisons), during]
    write_tables(folder, (table for section in sections for table in section.tables))
    facts = [f"{len(logs)} arms", f"{seeds} seed{'s' * (seeds != 1)}", f"reference: {comparisons[0].reference}"]
    return write_sections(folder / "report.html", title, "MedGraph · study", facts, sections)


def comparison_table(comparison: Comparison) -> RunTable:
    """A comparison as texts."""
    rows = [
        (row.arm, str(len(row.values)), percent(row.mean), percent(row.sd),
         *((points(row.versus.mean), interval(row.versus, signed=True), p_value(row.versus.p), p_value(row.p_holm))
           if row.versus else ("reference", "", "", "")))
        for row in comparison.rows
    ]  # fmt: skip
    header = ("arm", "seeds", "mean, %", "SD", "difference", "95 % over seeds", "p", "p, Holm")
    caption = (
        f"{comparison.title} on the test split. Differences in points to {comparison.reference}, paired by seed; p of "
        "the paired t-test, corrected by Holm for the number of arms."
    )
    return RunTable(comparison.name, comparison.title, header, rows, caption)


def overview_table(comparisons: Sequence[Comparison]) -> RunTable:
    """Means and SDs of all arms under all figures; the more numerous of arms and figures make the rows."""
    cells = [("arm", *(row.arm for row in comparisons[0].rows))]
    cells += [(each.title, *map(_overview_cell, each.rows)) for each in comparisons]
    header, *rows = zip(*cells, strict=True) if len(cells) <= len(cells[0]) else cells
    caption = (
        f"Test split, %: mean ± SD over seeds. An asterisk: the 95 % interval of the difference to "
        f"{comparisons[0].reference}, paired by seed, excludes zero."
    )
    return RunTable("overview", "Overview", header, rows, caption)


def _overview_cell(row: ArmRow) -> str:
    text = percent(row.mean) if math.isnan(row.sd) else f"{percent(row.mean)} ± {percent(row.sd)}"
    return f"{text} *" if row.versus and (row.versus.low > 0 or row.versus.high < 0) else text


def _compared(comparison: Comparison) -> Section:
    rows = [
        plots.ForestRow(row.arm, over.mean, over, points(over.mean), highlight=not math.isnan(over.low))
        for row in comparison.rows
        if (over := row.versus)
    ]
    figures = [picture(
        plots.seed_strip({row.arm: row.values for row in comparison.rows}, f"{comparison.title}, %"),
        f"{comparison.title} of every seed (dots) and their mean (bar).",
    )]  # fmt: skip
    if rows:
        caption = f"{comparison.title}: difference to {comparison.reference} in points, 95 % t intervals over seeds."
        figures.append(picture(plots.forest(rows, "Difference in points", zero=0), caption))
    return Section(comparison.name, comparison.title, comparison.text, figures, [comparison_table(comparison)])


def _arm_curves(logs: Mapping[str, Sequence[Log]], title: str, key: str) -> Picture | None:
    curves = {
        arm: [[(line["step"], line[key]) for line in lines if key in line] for lines in each]
        for arm, each in logs.items()
    }
    curves = {arm: each for arm, each in curves.items() if all(each)}
    return picture(plots.arm_curves(curves, title), f"{title} over optimiser steps.") if curves else None
