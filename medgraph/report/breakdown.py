"""The tables of a run: accuracy by data set, modality, question type …, each with protocol, n and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medgraph.evaluation.protocol_table import ProtocolResult
from medgraph.evaluation.results import NO_CONTROL, Results, Row, SplitResult
from medgraph.report.changed import changed_tables
from medgraph.report.tables import Cells, RunTable
from medgraph.report.words import control_name, interval, p_value, percent, points, sample_size, split_name

ATTRIBUTES = {
    "subset": "data set",
    "modality": "modality",
    "area": "anatomical area",
    "task": "task",
    "question_type": "question type",
    "answer_type": "answer type",
}
"""Tables of `SplitResult` and what their rows are called."""

FIGURES = {
    "recall": "open: recall, %",
    "f1": "open: F1, %",
    "rouge_l": "open: ROUGE-L, %",
    "open_accuracy": "open: accuracy, %",
    "closed_accuracy": "closed, %",
    "choice_accuracy": "choice, %",
    "mean_iou": "mean IoU, %",
    "cumulative_iou": "cumulative IoU, %",
    "accuracy_50": "IoU ≥ 0.5, %",
    "average": "average, %",
    "total_accuracy": "all, %",
}
"""Figures of protocols that have a column, and how it is headed."""

_HEADER = ("n", "images", "accuracy, %", "95 % interval", "chance, %", "constant, %", "F1, %", "unparsed, %")
_RULE = (
    "strict protocol (the whole answer must be right; F1: token overlap of open answers), 95 % intervals over images"
)


def run_tables(results: Results, run: str) -> list[RunTable]:
    """Model and controls by split, every protocol, the model by every attribute, and what changed images do.

    Args:
        results: of one run.
        run: its name, for the captions.
    """
    sizes = "; ".join(f"{split_name(s)}: {sample_size(results.get(s).overall)}" for s in results.splits)
    tables = [
        RunTable(
            "overall",
            "Model and controls",
            ("split", "who answers", *_HEADER, "model minus this", "95 % interval", "p", "not above"),
            [cells for split in results.splits for cells in _overall_rows(results, split)],
            f"{run}: model and controls, {_RULE}. {sizes}. Differences in points, paired by question; p: McNemar.",
            texts=2,
        ),
        *_protocols(results, run, sizes),
    ]
    for name, title in ATTRIBUTES.items():
        rows = [cells for split in results.splits for cells in _attribute_rows(results, split, name)]
        header = ("split", title, *_HEADER, "without image, %", "not above")
        caption = f"{run}: accuracy by {title}, {_RULE}. {sizes}."
        tables.append(RunTable(f"by_{name}", f"By {title}", header, rows, caption, texts=2))
    return [*tables, *changed_tables(results, run)]


def _protocols(results: Results, run: str, sizes: str) -> Iterator[RunTable]:
    used = [name for name in FIGURES if any(name in result.figures for result in results.protocols)]
    if used:
        header = ("split", "protocol", *map(FIGURES.__getitem__, used), "best control of the headline")
        rows = [_protocol_row(result, used) for result in results.protocols]
        caption = (
            f"{run}: the same answers under every protocol, 95 % intervals over images in brackets; ! marks a figure "
            f"that answers without the image or without a model reach. {sizes}."
        )
        yield RunTable("protocols", "Every protocol", header, rows, caption, texts=2)


def _protocol_row(result: ProtocolResult, figures: Sequence[str]) -> Cells:
    def cell(name: str) -> str:
        if name not in result.figures:
            return ""
        figure, mark = result.figures[name], "!" if result.beaten(name) else ""
        return f"{figure.value:.1f}{mark} ({figure.interval.low:.1f}–{figure.interval.high:.1f})"

    rival = result.rivals.get(result.headline)
    best = f"{rival.value:.1f} {control_name(rival.control)}" if rival else ""
    return split_name(result.split), result.protocol, *map(cell, figures), best


def _overall_rows(results: Results, split: str) -> Iterator[Cells]:
    model = results.get(split)
    for entry in (model, *results.controls(split)):
        over = model.over.get(entry.control)
        versus = (points(over.mean), interval(over, signed=True), p_value(over.p)) if over else ("", "", "")
        yield split_name(split), control_name(entry.control), *_cells(entry.overall), *versus, _levels(entry.overall)


def _attribute_rows(results: Results, split: str, name: str) -> Iterator[Cells]:
    blind = next((entry for entry in results.controls(split) if entry.control == "no_image"), None)
    for value, row in results.get(split, NO_CONTROL).tables[name].items():
        yield split_name(split), value, *_cells(row), _accuracy(blind, name, value), _levels(row)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.n:,}",
        f"{row.images:,}",
        percent(row.accuracy),
        interval(row.interval),
        percent(row.chance),
        percent(row.constant),
        "" if row.f1 is None else percent(row.f1),
        percent(row.unparsed),
    )


def _accuracy(entry: SplitResult | None, table: str, value: str) -> str:
    return percent(entry.tables[table][value].accuracy) if entry and value in entry.tables[table] else ""


def _levels(row: Row) -> str:
    return ", ".join(map(control_name, row.not_above))
