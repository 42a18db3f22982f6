"""The report of a study: arms over seeds as one page, and the comparison as CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group
from rich.table import Table

from medgraph.evaluation.study import ArmResult, Study, StudyRun, compare_arms
from medgraph.report import plots
from medgraph.report.page import Picture, picture, write_page
from medgraph.report.provenance import provenance
from medgraph.report.tables import RunTable, write_tables
from medgraph.report.words import duration, interval, p_value, percent, points, split_name

HEADER = ("split", "arm", "seeds", "mean", "SD", "difference", "95 % over seeds", "p", "p Holm", "95 % over images")
_CONTENTS = (
    ("comparison", "Comparison"),
    ("curves", "Curves"),
    ("compute", "Compute"),
    ("reading", "How to read"),
)


def write_study_report(
    study_dir: str | Path,
    runs: Sequence[StudyRun],
    reference: str,
    full_data: str | None = None,
    title: str = "Study",
    notes: Sequence[str] = (),
) -> Path:
    """Write ``report.html`` and ``comparison`` as CSV, Markdown and LaTeX.

    Args:
        study_dir: folder to write to; made if absent.
        runs: all runs.
        reference: arm that the others are compared with.
        full_data: arm trained on all data; whether it has reached its plateau is said at the top, because nobody may
            say that less data matches it before it has.
        title: heading of the page.
        notes: sentences that the page must carry, such as what the study was not designed to show.

    Returns:
        Path of the page.

    Raises:
        ValueError: as `compare_arms`.
    """
    folder = Path(study_dir)
    study = compare_arms(runs, reference)
    caption = f"Accuracy in % (strict protocol), paired differences in points to {reference}."
    write_tables(folder, [RunTable("comparison", "arm", HEADER, table_rows(study), caption)])
    return write_page(
        folder / "report.html",
        "study.html.j2",
        title,
        {
            "kicker": "MedGraph · study",
            "facts": [f"{len(study.compute)} arms", f"{len(runs)} runs", f"reference: {reference}"],
            "contents": _CONTENTS,
            "study": study,
            "warnings": _warnings(study, full_data),
            "notes": [*_reached(study, full_data), *notes],
            "forests": [*difference_forests(study), *seed_strips(study)],
            "curves": _curves(runs),
        },
        provenance(folder),
    )


def table_rows(study: Study) -> list[tuple[str, ...]]:
    """The comparison as texts, one row an arm and split; accuracies in %, differences in points."""
    return [
        (
            split_name(split),
            row.arm,
            str(len(row.seeds)),
            percent(row.mean),
            percent(row.sd),
            points(row.versus.mean) if row.versus else "reference" if row.arm == study.reference else "–",
            interval(row.versus, signed=True) if row.versus else "",
            p_value(row.versus.p) if row.versus else "",
            p_value(row.p_holm) if row.versus else "",
            interval(row.over_images, signed=True) if row.versus else "",
        )
        for split, rows in study.rows.items()
        for row in rows
    ]


def terminal_study_table(study: Study) -> Group:
    """The comparison and its compute, a table a split, as something Rich prints."""
    tables = []
    for split, arms in study.rows.items():
        title = f"{split_name(split)}: accuracy in %, differences in points to {study.reference}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("arm", no_wrap=True)
        for name in ("mean", "SD", "difference (95 % over seeds)", "p Holm", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in arms:
            versus = f"{points(row.versus.mean)} ({interval(row.versus, signed=True)})" if row.versus else "–"
            corrected = p_value(row.p_holm) if row.versus else ""
            seconds = duration(study.compute[row.arm].seconds)
            table.add_row(row.arm, percent(row.mean), percent(row.sd), versus, corrected, seconds)
        tables.append(table)
    return Group(*tables)


def _warnings(study: Study, full_data: str | None) -> list[str]:
    warnings = []
    if full_data is not None:
        plateau = study.plateaus.get(full_data)
        if plateau is None:
            warnings.append(f"{full_data}: no validation curve, so nobody can say whether it has reached its plateau.")
        elif plateau.verdict != "plateau":
            warnings.append(
                f"{full_data} has not been shown to be at its plateau, so no arm may be said to match it. "
                + plateau.sentence
            )
    fewest = min(len(row.seeds) for rows in study.rows.values() for row in rows)
    if fewest < 5:
        warnings.append(
            f"Some arm has only {fewest} seed{'s' * (fewest != 1)}: differences below about two points cannot be "
            "told from the luck of a seed."
        )
    return warnings


def _reached(study: Study, full_data: str | None) -> list[str]:
    plateau = study.plateaus.get(full_data or "")
    return [f"{full_data}: {plateau.sentence}"] if plateau and plateau.verdict == "plateau" else []


def difference_forests(study: Study) -> list[Picture]:
    """Differences of all arms to the reference over seeds, a picture a split."""
    pictures = []
    for split, rows in study.rows.items():
        compared = [row for row in rows if row.versus]
        if not compared:
            continue
        seeds = ", ".join(sorted({str(len(row.seeds)) for row in rows}))
        caption = (
            f"{split_name(split)}: difference to {study.reference} in points with 95 % t interval over seeds "
            f"(seeds: {seeds}, n = {rows[0].n:,} questions each); open dot: a single seed, interval over images."
        )
        title = f"{split_name(split)}: difference in points"
        pictures.append(picture(plots.forest([_forest_row(row) for row in compared], title, zero=0), caption))
    return pictures


def _forest_row(row: ArmResult) -> plots.ForestRow:
    assert row.versus is not None
    several = not math.isnan(row.versus.low)
    ends = row.versus if several else row.over_images
    return plots.ForestRow(row.arm, row.versus.mean, ends, points(row.versus.mean), highlight=several)


def _curves(runs: Sequence[StudyRun]) -> list[Picture]:
    by_arm: dict[str, list[plots.Curve]] = {}
    for run in runs:
        if run.curve:
            by_arm.setdefault(run.arm, []).append([(point.step, point.value) for point in run.curve])
    if not by_arm:
        return []
    asked = {point.n for run in runs for point in run.curve if point.n}
    n = f" (n = {min(asked):,} questions)" if asked else ""
    caption = f"Validation accuracy{n} over optimiser steps: every seed faint, the mean of the seeds strong."
    return [picture(plots.arm_curves(by_arm, "Validation accuracy"), caption)]


def seed_strips(study: Study) -> list[Picture]:
    """Accuracies of all arms, every seed a dot, a picture a split."""
    return [
        picture(
            plots.seed_strip({row.arm: row.accuracies for row in rows}, f"{split_name(split)}: accuracy, %"),
            f"{split_name(split)}: every seed (dots) and their mean (bar), n = {rows[0].n:,} questions each.",
        )
        for split, rows in study.rows.items()
    ]
