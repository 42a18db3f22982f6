"""What each element contributes, pooled over targets: by sharing it alone, by single subsets, and by leaving it out.

Targets are the units: a target's differences are averaged first, the interval is that of Student's t over targets. It
says whether another target would show the same, which no number of questions on one target can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgraph.cg.outcomes import Outcome
from medgraph.data.records import ELEMENTS
from medgraph.evaluation.effects import Effect
from medgraph.evaluation.plain import to_plain
from medgraph.evaluation.statistics import Interval, paired_over_seeds
from medgraph.report.cg_study import CgStudy
from medgraph.report.tables import RunTable
from medgraph.report.words import interval, points

Key = tuple[str, str]
"""Way of looking, and what is shared."""
ONLY, ALONE, LEFT_OUT = "only it, all subsets", "one subset", "leaving it out"
WAYS = {
    ONLY: "subsets that share this element and no other, minus Baseline+",
    ALONE: "a related subset alone, by what it shares, minus Baseline+",
    LEFT_OUT: "as many random related subsets left out, minus those left out that share this element",
}
"""Every one is above zero where the element helps."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A pooled difference.

    Attributes:
        way: key of `WAYS`.
        shared: elements, joined by ``+``.
        mean: over targets, as a share.
        interval: over targets; over seeds and images where there is one target.
        targets: how many.
    """

    way: str
    shared: str
    mean: float
    interval: Interval
    targets: int


def contributions(study: CgStudy) -> list[Contribution]:
    """Pool what has finished, way by way."""
    found: dict[Key, dict[str, list[Effect]]] = defaultdict(lambda: defaultdict(list))
    for outcome in study.outcomes:
        for key, effect in _effects(study, outcome):
            found[key][outcome.experiment.target].append(effect)
    order = {way: place for place, way in enumerate(WAYS)}
    ordered = sorted(found, key=lambda key: (order[key[0]], key[1].count("+"), ELEMENTS.index(key[1].split("+")[0])))
    return [_pool(key, found[key]) for key in ordered]


def _effects(study: CgStudy, outcome: Outcome) -> list[tuple[Key, Effect]]:
    scores, made = outcome.scores, list[tuple[Key, Effect]]()

    def add(way: str, shared: str, arm: str, control: str) -> None:
        if arm in scores and control in scores:
            made.append(((way, shared), study.effect(scores[arm], scores[control], control)))

    for element in ELEMENTS:
        add(ONLY, element, f"only_{element}", "baseline_plus")
        add(LEFT_OUT, element, f"without_random for {element}", f"without_{element}")
    for key in outcome.experiment.related:
        shared = study.shared(key, outcome.experiment.target)
        if shared:
            add(ALONE, "+".join(name for name in ELEMENTS if name in shared), f"alone {key}", "baseline_plus")
    return made


def _pool(key: Key, by_target: dict[str, list[Effect]]) -> Contribution:
    means = [float(np.mean([effect.mean for effect in effects])) for effects in by_target.values()]
    over_targets = paired_over_seeds([0.0] * len(means), means)
    (first, *more), *others = by_target.values()
    ends = Interval(over_targets.low, over_targets.high)
    if not more and not others:
        ends = Interval(first.low, first.high)
    return Contribution(*key, over_targets.mean, ends, len(means))


def element_table(study: CgStudy, found: Sequence[Contribution]) -> RunTable:
    """One row a contribution."""
    rows = [(one.way, one.shared, points(one.mean), interval(one.interval, signed=True), str(one.targets))
            for one in found]  # fmt: skip
    ways = "; ".join(f"{way}: {text}" for way, text in WAYS.items() if way in {one.way for one in found})
    caption = (
        f"Differences in points ({study.seeds}), averaged within a target, 95 % t intervals over targets; over seeds "
        f"and images where there is one target only. {ways[0].upper()}{ways[1:]}."
    )
    header = ("way", "shared", "difference", "95 %", "targets")
    records = [to_plain(one) for one in found]
    return RunTable("elements", "Elements", header, rows, caption, texts=2, records=records)
