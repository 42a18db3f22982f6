"""The pages of a pre-training and of a study of several: curves, collapse figures, probes with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.evaluation.statistics import Interval, paired_over_seeds
from medgraph.pretraining.comparison import Comparison
from medgraph.pretraining.options import PretrainConfig
from medgraph.pretraining.results import FIGURES, PretrainResults
from medgraph.report import plots
from medgraph.report.page import Picture, picture, write_page
from medgraph.report.provenance import provenance
from medgraph.report.tables import RunTable, write_tables
from medgraph.report.words import interval, p_value, percent, points, share
from medgraph.training.logging import read_metrics

TEMPLATE = "pretraining.html.j2"
CURVES: tuple[tuple[str, dict[str, str]], ...] = (
    ("Loss", {"train/loss": "loss"}),
    ("Probes on validation", {"val/knn": "k-NN accuracy", "val/linear": "linear accuracy"}),
    ("Effective rank of the features", {"val/effective_rank": "effective rank"}),
    ("Spread of the features", {"val/feature_sd": "SD × √D"}),
)
"""Title, and label by key of the log."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page."""

    anchor: str
    title: str
    text: str
    figures: Sequence[Picture] = ()
    tables: Sequence[RunTable] = ()
    warnings: Sequence[str] = ()


def write_run_report(folder: Path, config: PretrainConfig, results: PretrainResults) -> Path:
    """Write ``report.html`` of one pre-training.

    Args:
        folder: of the run; its ``metrics.jsonl`` is read.
        config: what was run.
        results: probes of the tower.
    """
    lines = read_metrics(folder / "metrics.jsonl")
    figures = [drawn for title, series in CURVES if (drawn := run_curves(lines, title, series))]
    sections = [
        Section("probes", "What the tower has learnt",
                "Linear and k-nearest-neighbour probes on its frozen features: fitted on the training labels, chosen "
                "on validation, measured once on the test split.", tables=[probe_table(results)]),
        Section("training", "Training",
                "Features that collapse show as a spread near 0 and an effective rank near 1, whatever the loss says.",
                figures),
    ]  # fmt: skip
    facts = [config.method, f"tower: {config.vision}", f"{config.steps:,} steps of {config.batch_size} images"]
    return write_sections(
        folder / "report.html", f"{config.name} · seed {config.seed}", "MedGraph · pre-training", facts, sections
    )


def probe_table(results: PretrainResults) -> RunTable:
    """Figures of both probes with intervals over images."""
    rows = [
        (result.probe, str(result.n), str(result.classes), *(share(result.figures[name]) for name in FIGURES))
        for result in results.probes.values()
    ]
    names = tuple(f"{name.replace('_', ' ')}, %" for name in FIGURES)
    caption = "Test split; 95 % intervals over images (patients, where these are known)."
    return RunTable("probes", "probe", ("probe", "n", "classes", *names), rows, caption)


def write_study_report(
    folder: Path,
    title: str,
    comparisons: Sequence[Comparison],
    runs: Mapping[str, Sequence[Path]],
    curves: Sequence[tuple[str, Mapping[str, str]]] = CURVES[1:],
) -> Path:
    """Write ``report.html`` and one table a comparison as CSV, Markdown and LaTeX.

    Args:
        folder: of the study; made if absent.
        title: heading.
        comparisons: the first one is what the study is about.
        runs: folders of the runs by arm, for their curves.
        curves: title, and label by key of the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    overview = Section("overview", "Overview", "All that was measured; each row is a section below.",
                       tables=[overview_table(comparisons)])  # fmt: skip
    sections = [overview, *map(_compared, comparisons)]
    logs = {arm: [read_metrics(run / "metrics.jsonl") for run in each] for arm, each in runs.items()}
    sections.append(Section("curves", "During training", "Every seed faint, the mean of the seeds strong.", [
        drawn for name, series in curves for key in series
        if (drawn := _arm_curves(logs, f"{name}: {series[key]}" if len(series) > 1 else name, key))
    ]))  # fmt: skip
    for section in sections:
        for table in section.tables:
            write_tables(folder / table.name, table.header, table.rows, table.caption)
    seeds = len(comparisons[0].rows[0].values)
    facts = [f"{len(runs)} arms", f"{seeds} seed{'s' * (seeds != 1)}", f"reference: {comparisons[0].reference}"]
    return write_sections(folder / "report.html", title, "MedGraph · study of pre-training", facts, sections)


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
    """Means of all arms under all figures, with their intervals over seeds; the more numerous make the rows."""

    def cell(values: Sequence[float]) -> str:
        over_seeds = paired_over_seeds([0.0] * len(values), values)
        return f"{percent(over_seeds.mean)} ({interval(over_seeds)})"

    cells = [("arm", *(row.arm for row in comparisons[0].rows))]
    cells += [(each.title, *(cell(row.values) for row in each.rows)) for each in comparisons]
    header, *rows = zip(*cells, strict=True) if len(cells) <= len(cells[0]) else cells
    caption = "Test split, %: means over seeds with 95 % t intervals, of each arm alone; paired differences say more."
    return RunTable("overview", "Overview", header, rows, caption)


def _compared(comparison: Comparison) -> Section:
    rows = [
        plots.ForestRow(row.arm, 100 * row.versus.mean, Interval(100 * row.versus.low, 100 * row.versus.high),
                        points(row.versus.mean), highlight=not math.isnan(row.versus.low))
        for row in comparison.rows if row.versus
    ]  # fmt: skip
    figures = [picture(
        plots.seed_strip({row.arm: row.values for row in comparison.rows}, f"{comparison.title}, %"),
        f"{comparison.title} of every seed (dots) and their mean (bar).",
    )]  # fmt: skip
    if rows:
        caption = f"{comparison.title}: difference to {comparison.reference} in points, 95 % t intervals over seeds."
        figures.append(picture(plots.forest(rows, "Difference in points", zero=0), caption))
    few = min(len(row.values) for row in comparison.rows) < 5
    warnings = ["Fewer than five seeds: small differences cannot be told from the luck of a seed."] if few else []
    return Section(
        comparison.name, comparison.title, comparison.text, figures, [comparison_table(comparison)], warnings
    )


def run_curves(lines: Iterable[dict[str, Any]], title: str, series: Mapping[str, str]) -> Picture | None:
    """Values of a log over its steps; None where it has none of them."""
    lines = list(lines)
    curves = {label: [(line["step"], line[key]) for line in lines if key in line] for key, label in series.items()}
    curves = {label: curve for label, curve in curves.items() if curve}
    return picture(plots.training_curves(curves, title, {}), f"{title} over optimiser steps.") if curves else None


def _arm_curves(logs: dict[str, list[list[dict[str, Any]]]], title: str, key: str) -> Picture | None:
    curves = {
        arm: [[(line["step"], line[key]) for line in lines if key in line] for lines in each]
        for arm, each in logs.items()
    }
    curves = {arm: each for arm, each in curves.items() if all(each)}
    return picture(plots.arm_curves(curves, title), f"{title} over optimiser steps.") if curves else None


def write_sections(file: Path, title: str, kicker: str, facts: Sequence[str], sections: Sequence[Section]) -> Path:
    """Write a page of sections, with the configuration that lies beside it or below."""
    contents = [(section.anchor, section.title) for section in sections]
    values = {"kicker": kicker, "facts": facts, "contents": contents, "sections": sections}
    return write_page(file, TEMPLATE, title, values, provenance(file.parent))
