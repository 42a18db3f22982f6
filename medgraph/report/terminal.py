"""The result table for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from medgraph.evaluation.results import NO_CONTROL, Results
from medgraph.report.words import control_name, interval, p_value, percent, points, split_name


def terminal_table(results: Results, title: str = "Accuracy, strict protocol, 95 % intervals over images") -> Table:
    """Accuracy with interval, n, chance and controls of every split, as a Rich table.

    Args:
        results: of one run.
        title: above the table.
    """
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("split", "who answers"):
        table.add_column(name)
    for name in ("accuracy %", "interval", "n", "chance", "constant", "model − this", "p"):
        table.add_column(name, justify="right")
    table.add_column("not above", style="yellow")
    for split in results.splits:
        model = results.get(split)
        for entry in (model, *results.controls(split)):
            row, over = entry.overall, model.over.get(entry.control)
            own = entry.control == NO_CONTROL
            table.add_row(
                split_name(split) if own else "",
                control_name(entry.control),
                Text(percent(row.accuracy), style="bold" if own else ""),
                interval(row.interval),
                f"{row.n:,}",
                percent(row.chance),
                percent(row.constant),
                f"{points(over.mean)} ({interval(over, signed=True)})" if over else "",
                p_value(over.p) if over else "",
                ", ".join(map(control_name, row.not_above)),
                end_section=entry is (results.controls(split) or [model])[-1],
            )
    return table
