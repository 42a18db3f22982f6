"""The result table for the terminal: 80 columns are enough."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from medgraph.evaluation.results import NO_CONTROL, Results, SplitResult
from medgraph.report.words import control_name, interval, percent, points, split_name


def terminal_table(results: Results) -> Group:
    """Accuracy with interval and n of every split, above what needs no model, as something Rich prints.

    Args:
        results: of one run.
    """
    return Group(*(part for split in results.splits for part in _split(results, split)))


def _split(results: Results, split: str) -> tuple[Table, Text]:
    model = results.get(split)
    table = Table(
        title=f"{split_name(split)}: accuracy in %, strict protocol, 95 % intervals",
        title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("who answers", no_wrap=True)
    for name in ("accuracy", "interval", "n", "model − this"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in (model, *results.controls(split)):
        table.add_row(*_cells(entry, model), style="bold" if entry is model else "")
    table.add_row("best constant answer", percent(model.overall.constant), style="dim")
    table.add_row("chance", percent(model.overall.chance), style="dim")
    below = ", ".join(map(control_name, model.overall.not_above))
    verdict = (
        Text(f"  not clearly above: {below}\n", "yellow") if below else Text("  clearly above all of these\n", "green")
    )
    return table, verdict


def _cells(entry: SplitResult, model: SplitResult) -> list[str]:
    row, over = entry.overall, model.over.get(entry.control)
    return [
        "model" if entry.control == NO_CONTROL else control_name(entry.control),
        percent(row.accuracy),
        interval(row.interval),
        f"{row.n:,}",
        f"{points(over.mean)} ({interval(over, signed=True)})" if over else "",
    ]
