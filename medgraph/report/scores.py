"""Terminal tables of ``medgraph score`` and ``medgraph compare``."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.evaluation.predictions import NO_CONTROL
from medgraph.evaluation.protocol_table import ProtocolResult, ScoredGroup
from medgraph.evaluation.protocols import Figure
from medgraph.evaluation.score_cli import Comparison, ScoreReport
from medgraph.report.words import control_name, interval, p_value, percent, points, split_name

_COLUMNS = {
    "open:\nrecall": ("recall",),
    "open:\nF1": ("f1", "rouge_l"),
    "open:\naccuracy": ("open_accuracy",),
    "\nclosed": ("closed_accuracy",),
    "\nchoice": ("choice_accuracy",),
    "average\nor total": ("average", "total_accuracy"),
}
_LEGEND = (
    "Headline: the average of open and closed questions, or accuracy over all, whichever the protocol is quoted by. "
    "Best control: the highest that answers without the image or a model get. ! marks a figure that a control reaches."
)


def render_score(report: ScoreReport, verbose: bool = False) -> RenderableType:
    """One table a split, a line a protocol, the best control beside it, then what is to be known about the input.

    Args:
        report: the scores.
        verbose: every control in a table of its own, every figure with its interval.
    """
    parts: list[RenderableType] = [_compact_table(report, group) for group in report.groups if _is_model(group)]
    parts.append(Text(_LEGEND, style="dim"))
    if verbose:
        parts += [_score_table(group) for group in report.groups]
    parts += [Text(f"! {w}", style="yellow") for group in report.groups if _is_model(group) for w in group.warnings]
    parts += [Text(f"{count:,} {note}") for note, count in report.notes.items()]
    return Group(*parts)


def _is_model(group: ScoredGroup) -> bool:
    return group.control == NO_CONTROL


def _compact_table(report: ScoreReport, group: ScoredGroup) -> Table:
    results = [result for result in report.results if result.split == group.split]
    shown = {title: names for title, names in _shown(group).items() if "average" not in names}
    table = _table(f"{group.split}: {group.n:,} questions on {group.images:,} images; %")
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("headline\n(95 % interval)", no_wrap=True)
    table.add_column("best control\nof the headline")
    for result in results:
        cells = [_cell(result, next((n for n in names if n in result.figures), "")) for names in shown.values()]
        quoted, rival = result.figures[result.headline], result.rivals.get(result.headline)
        best = f"{rival.value:.1f} {control_name(rival.control)}" if rival else ""
        mark, style = ("!", "yellow") if result.beaten(result.headline) else ("", "")
        table.add_row(result.protocol, *cells, f"{quoted.value:.1f}{mark} ({_ends(quoted)})", best, style=style)
    return table


def _cell(result: ProtocolResult, figure: str) -> str:
    if not figure:
        return ""
    return f"{result.figures[figure].value:.1f}{'!' if result.beaten(figure) else ''}"


def _score_table(group: ScoredGroup) -> Table:
    shown = _shown(group)
    table = _table(
        f"{group.split}, {control_name(group.control)}: {group.n:,} questions on {group.images:,} images; "
        "%, 95 % intervals over images"
    )
    for name in shown:
        table.add_column(name, justify="right")
    for protocol, score in group.scores.items():
        cells = [next((_figure(score.get(n)) for n in names if score.get(n).n), "n/a") for names in shown.values()]
        table.add_row(protocol, *cells)
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("\nprotocol", overflow="fold")
    return table


def _shown(group: ScoredGroup) -> dict[str, tuple[str, ...]]:
    """Columns that at least one protocol fills."""
    defined = {name for score in group.scores.values() for name in score.figures}
    return {title: names for title, names in _COLUMNS.items() if defined.intersection(names)}


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
