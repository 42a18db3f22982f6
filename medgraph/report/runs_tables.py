"""Lists and comparisons of runs for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.plain import to_plain
from medgraph.report.runs import RunSummary, State
from medgraph.report.runs_compared import Differing, RunDifferences
from medgraph.report.scores import render_comparison
from medgraph.report.words import duration, points, share

STYLES: dict[State, str] = {
    "finished": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "broken": "red",
}
_MISSING = "–"


def render_runs(runs: Sequence[RunSummary], below: Path = Path()) -> RenderableType:
    """One row a run, then what is wrong with those that failed or cannot be read.

    Args:
        runs: in the order of the rows.
        below: folder that their names are relative to.
    """
    counted = Counter(run.state for run in runs)
    states = ", ".join(f"{counted[state]} {state}" for state in STYLES if state in counted)
    table = _table(f"{len(runs)} run{'s' * (len(runs) != 1)}{f': {states}' if states else ''}")
    table.add_column("run", overflow="fold")
    for name in ("written, UTC", "state", "method"):
        table.add_column(name, no_wrap=name != "method")
    for name in ("steps", "result, % (95 %)", "seed", "commit", "training"):
        table.add_column(name, justify="right" if name != "commit" else "left", no_wrap=name != "result, % (95 %)")
    for run in runs:
        table.add_row(*_cells(run, below))
    reasons = [Text(f"{name_of(run, below)}: {run.reason}") for run in runs if run.reason]
    return Group(table, *reasons)


def name_of(run: RunSummary, below: Path) -> str:
    """Folder of a run relative to another, where it is below it."""
    return str(run.folder.relative_to(below)) if run.folder.is_relative_to(below) else str(run.folder)


def runs_as_json(runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """Everything a list knows, without the configurations; None where undefined."""
    plain = to_plain([_without_config(run) for run in runs])
    return [{**values, "folder": str(values["folder"])} for values in plain]


def _without_config(run: RunSummary) -> dict[str, Any]:
    return {name: getattr(run, name) for name in RunSummary.__slots__ if name != "config"}


def render_differences(differences: RunDifferences) -> RenderableType:
    """The runs, what differs between them, and their results."""
    letters = [chr(ord("A") + number) for number in range(len(differences.runs))]
    parts: list[RenderableType] = [render_runs(differences.runs)]
    for title, rows in (
        ("Configuration", differences.config), ("Data", differences.data), ("Environment", differences.environment)
    ):  # fmt: skip
        parts.append(_differing(title, rows, letters) if rows else Text(f"{title}: the same\n"))
    if differences.questions is not None:
        parts.append(render_comparison(differences.questions))
    else:
        parts += [_figures(differences, letters)] if differences.figures else []
        parts.append(Text(differences.note))
    return Group(*parts)


def differences_as_json(differences: RunDifferences) -> dict[str, Any]:
    """Everything `render_differences` shows."""
    return {
        "runs": runs_as_json(differences.runs),
        "config": to_plain(differences.config),
        "data": to_plain(differences.data),
        "environment": to_plain(differences.environment),
        "figures": to_plain(differences.figures),
        "questions": differences.questions.to_dict() if differences.questions else None,
        "note": differences.note,
    }


def _cells(run: RunSummary, below: Path) -> list[str | Text]:
    where = f" {run.stage}" if run.stage else ""
    planned = f"/{run.planned:,}" if run.planned is not None else ""
    return [
        Text(name_of(run, below)),
        run.written[:16].replace("T", " "),
        Text(run.state, STYLES[run.state]),
        Text(f"{run.method}{where}" or _MISSING),
        f"{run.steps:,}{planned}",
        f"{run.main[0]} {share(run.main[1])}" if run.main else _MISSING,
        _MISSING if run.seed is None else str(run.seed),
        f"{run.commit[:7]}{'+' * run.commit.endswith('dirty')}" or _MISSING,
        duration(run.seconds),
    ]


def _differing(title: str, rows: Differing, letters: Sequence[str]) -> Table:
    table = _table(f"{title}: what differs")
    table.add_column("key", overflow="fold")
    for letter in letters:
        table.add_column(letter, overflow="fold")
    for key, values in rows.items():
        table.add_row(key, *(Text(_MISSING if value is None else str(value)) for value in values))
    return table


def _figures(differences: RunDifferences, letters: Sequence[str]) -> Table:
    table = _table("Results: accuracy in % (95 % intervals); differences are not paired")
    table.add_column("measured on", overflow="fold")
    for number, letter in enumerate(letters):
        table.add_column(letter, justify="right")
        if number:
            table.add_column(f"{letter} − {letters[0]}", justify="right")
    for name, values in differences.figures.items():
        cells = [share(values[0]) if values[0] else _MISSING]
        for value in values[1:]:
            cells += [share(value) if value else _MISSING, _difference(value, values[0])]
        table.add_row(name, *cells)
    return table


def _difference(value: Estimate | None, reference: Estimate | None) -> str:
    return points(value.value - reference.value) if value and reference else _MISSING


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
