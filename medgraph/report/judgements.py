"""Terminal table of ``medgraph judge``."""

from __future__ import annotations

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.evaluation.judge import RULE
from medgraph.evaluation.judge_scores import GroupScore, JudgeReport


def render_judged(report: JudgeReport) -> RenderableType:
    """Scores overall, by type and by domain, then what was not judged and what to be aware of."""
    table = Table(
        title=f"{report.protocol}, judged by {report.judge}; per cent of the reference's rating",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("questions", overflow="fold")
    for name in ("score", "95 % interval", "judged", "rating of the answer", "of the reference"):
        table.add_column(name, justify="right")
    for name, score in report.groups.items():
        table.add_row(name, *_cells(score))
    overall, missing = report.groups["overall"], sum(report.failures.values())
    notes = [f"! {note}" for note in report.notes]
    if missing:
        kinds = ", ".join(f"{count} {kind}" for kind, count in report.failures.items())
        notes.append(f"! {missing} of {overall.n} questions have no rating ({kinds}) and are left out; "
                     f"the score is {overall.lowest:.1f} if they count 0")  # fmt: skip
    if report.unusable:
        notes.append(f"{report.unusable} replies could not be used")
    if report.order_effect is not None and report.judge != RULE:
        notes.append(f"shown first, an answer is rated {report.order_effect:+.2f} higher (both orders are averaged)")
    if versus := report.versus:
        notes.append(f"{versus.mean:+.1f} points against the first chatbot, 95 % interval {versus.low:+.1f} to "
                     f"{versus.high:+.1f}, on {versus.n} questions rated for both")  # fmt: skip
    return Group(Text(report.path), table, *map(Text, notes))


def _cells(score: GroupScore) -> list[str]:
    judged = f"{score.judged} of {score.n}"
    if not score.judged:
        return ["–", "–", judged, "–", "–"]
    low, high = score.interval.low, score.interval.high
    ends = "no interval" if math.isnan(low) else f"{low:.1f}–{high:.1f}"
    return [f"{score.score:.1f}", ends, judged, f"{score.answer:.2f}", f"{score.reference:.2f}"]
