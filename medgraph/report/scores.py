"""Terminal tables of ``medgraph score`` and ``medgraph compare``."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.evaluation.protocols import Figure
from medgraph.evaluation.results import NO_CONTROL
from medgraph.evaluation.score_cli import Comparison, ScoredGroup, ScoreReport
from medgraph.report.words import control_name, interval, p_value, percent, points, split_name

_COLUMNS = {
    "open:\nrecall": ("recall",),
    "open:\nF1": ("f1",),
    "open:\naccuracy": ("open_accuracy",),
    "\nclosed": ("closed_accuracy",),
    "\nchoice": ("choice_accuracy",),
    "average\nor total": ("average", "total_accuracy"),
}
_BASELINES = {
    "always yes": "always yes: 'yes' to every question, to be compared with the closed column.",
    "vocabulary": "vocabulary: every training answer listed, to be compared with the last column.",
}


def render_score(report: ScoreReport) -> RenderableType:
    """One table a split and control, every protocol a row, then what is to be known about the input."""
    parts: list[RenderableType] = [_score_table(group) for group in report.groups]
    used = {name for group in report.groups for values in group.gaming.values() for name in values}
    parts += [Text(text, style="dim") for name, text in _BASELINES.items() if name in used]
    parts += [Text(f"! {warning}", style="yellow") for group in report.groups for warning in group.warnings]
    parts += [Text(f"{count:,} {note}") for note, count in report.notes.items()]
    return Group(*parts)


def score_rows(report: ScoreReport) -> tuple[list[str], list[list[str]]]:
    """Header and rows of every figure of every protocol, for `medgraph.report.tables.write_tables`."""
    header = ["protocol", "split", "control", "figure", "value, %", "95 % interval", "n"]
    rows = [
        [name, group.split, group.control, figure, f"{value.value:.2f}", _ends(value), str(value.n)]
        for group in report.groups
        for name, score in group.scores.items()
        for figure, value in score.figures.items()
    ]
    return header, rows


def _score_table(group: ScoredGroup) -> Table:
    shown = {
        title: names
        for title, names in _COLUMNS.items()
        if any(name in score.figures for score in group.scores.values() for name in names)
    }
    who = "" if group.control == NO_CONTROL else f", {control_name(group.control)}"
    title = f"{group.split}{who}: {group.n:,} questions on {group.images:,} images"
    table = Table(
        title=f"{title}; %, 95 % intervals over images",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("\nprotocol", overflow="fold")
    for name in shown:
        table.add_column(name, justify="right")
    baselines = list(dict.fromkeys(name for values in group.gaming.values() for name in values))
    for name in baselines:
        table.add_column(f"no model:\n{name}", justify="right", style="yellow")
    for protocol, score in group.scores.items():
        cells = [next((_figure(score.get(n)) for n in names if score.get(n).n), "n/a") for names in shown.values()]
        without = [group.gaming[protocol].get(name, math.nan) for name in baselines]
        table.add_row(protocol, *cells, *("" if math.isnan(value) else f"{value:.1f}" for value in without))
    return table


def render_comparison(comparison: Comparison) -> RenderableType:
    """One table a split: accuracy of every run and its paired difference to the first."""
    parts: list[RenderableType] = []
    for split, runs in comparison.splits.items():
        table = Table(title=f"{split_name(split)}: accuracy in %, strict protocol", title_justify="left")
        table.add_column("run")
        for name in ("accuracy", "95 % interval", "n", "minus the first", "95 % interval", "McNemar p", "p, Holm"):
            table.add_column(name, justify="right")
        for run in runs:
            cells = [run.path, percent(run.accuracy), interval(run.interval), f"{run.n:,}"]
            if run.versus:
                cells += [points(run.versus.mean), interval(run.versus, signed=True)]
                cells += [p_value(run.versus.p), p_value(run.p_holm)]
            table.add_row(*cells)
        smallest = 100 * comparison.detectable[split]
        note = (
            f"n = {runs[0].n:,} separates differences above {smallest:.1f} points (power 80 %, 20 % of answers differ)."
        )
        parts += [table, Text(note)]
    return Group(*parts)


def _figure(figure: Figure) -> str:
    return f"{figure.value:.1f}\n[dim]{_ends(figure)}[/dim]"


def _ends(figure: Figure) -> str:
    low, high = figure.interval.low, figure.interval.high
    return "" if math.isnan(low) else f"{low:.1f}–{high:.1f}"
