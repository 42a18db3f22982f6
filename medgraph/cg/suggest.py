"""Which subsets to train on for a target: ranked by what they share with it, their size, and what finished runs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medgraph.cg.combinations import Combination, coarse, enumerate_combinations
from medgraph.cg.contributions import FEATURES, Contributions, Estimate, features, fit, published_prior
from medgraph.cg.finished import Gain
from medgraph.cg.published import rows_of
from medgraph.cg.relations import Relations, task_names
from medgraph.config import ConfigError
from medgraph.data.plan import equal_counts
from medgraph.data.records import ELEMENTS
from medgraph.data.registry import Registry, SubsetSpec

MOST_TOGETHER = 3
"""Largest set that is searched for: more have too many."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Subsets to train on, and why.

    Attributes:
        subsets: their keys.
        triplets: theirs.
        expected: gain over the untrained model in points.
        shared: of each, the elements in common with the target, and under which name if a task has it under another.
        missing: elements and pairs of elements of the target that none of them has.
        images: to take of each; None where sizes are unknown.
        directions: of the combination that they are, or, for a single subset, that it is part of.
        published: rows of Med-MAT's tables that these combinations may be.
        runs: finished runs on subsets that share exactly as much with their targets.
        measured: mean gain of the finished runs on these very subsets and target, in points; None: none.
        mind: what else to know.
    """

    subsets: tuple[str, ...]
    triplets: tuple[str, ...]
    expected: Estimate
    shared: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...]
    images: tuple[int, ...] | None
    directions: tuple[str, ...]
    published: tuple[str, ...]
    runs: int
    measured: float | None
    mind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """All that is said of a target.

    Attributes:
        target: its key.
        triplet: its own.
        single: related subsets one by one, best first.
        together: sets of ``pick`` of them, best first.
        missing: what the first ``pick`` of ``single`` leave of the target, as in `Suggestion`.
        contributions: of each feature, in points.
        left_out: why a subset is not considered, by key.
        unrelated: how many subsets share nothing with the target.
        sized: whether the sizes of the subsets are known.
        arms: finished arms behind the estimate.
        runs: finished runs behind the estimate.
    """

    target: str
    triplet: str
    single: tuple[Suggestion, ...]
    together: tuple[Suggestion, ...]
    missing: tuple[str, ...]
    contributions: Mapping[str, Estimate]
    left_out: Mapping[str, str]
    unrelated: int
    sized: bool
    arms: int
    runs: int


def suggest(
    registry: Registry, target: SubsetSpec, capacity: Mapping[str, int] | None = None, gains: Sequence[Gain] = (),
    pick: int = 2, images: int = 3000, top: int = 10,
) -> Advice:  # fmt: skip
    """Rank subsets, and sets of them, by the gain to expect from training on them.

    Args:
        registry: the subsets that are there.
        target: one of them.
        capacity: images that each can give; None: unknown, taken as enough.
        gains: of finished studies.
        pick: subsets in a set, 2 or 3.
        images: to train on at most, shared equally by the subsets of a set as far as they have them.
        top: subsets, and sets, to name.

    Raises:
        ConfigError: if ``pick`` is out of range, or no related subset is left.
    """
    if not 2 <= pick <= MOST_TOGETHER:
        raise ConfigError(f"pick={pick}: expected 2 to {MOST_TOGETHER}")
    relations = Relations(registry, target)
    related = [spec for spec in relations.pool if relations.widest(spec)]
    unrelated = len(relations.pool) - len(related)
    left_out = dict(relations.left_out)
    if capacity is not None:
        left_out |= {spec.key: "has no image that may train" for spec in related if not capacity[spec.key]}
        related = [spec for spec in related if capacity[spec.key]]
    if not related:
        why = "; ".join(f"{key} {reason}" for key, reason in left_out.items())
        raise ConfigError(f"target {target.key} ({target.triplet}): no related subset is left, {unrelated} share "
                          f"nothing with it{why and '; ' + why}")  # fmt: skip
    learned = learn(gains, target.key)
    advisor = _Advisor(registry, relations, capacity, gains, learned, images)
    single = advisor.best([(spec,) for spec in related], top)
    firsts = [key for suggestion in single[:pick] for key in suggestion.subsets]
    return Advice(
        target=target.key,
        triplet=str(target.triplet),
        single=single,
        together=advisor.best(list(combinations(related, pick)), top),
        missing=_missing(relations, firsts),
        contributions={name: learned.expect(row) for name, row in zip(FEATURES, np.eye(len(FEATURES)), strict=True)},
        left_out=left_out,
        unrelated=unrelated,
        sized=capacity is not None,
        arms=len(gains),
        runs=sum(gain.runs for gain in gains),
    )


def learn(gains: Sequence[Gain], target: str) -> Contributions:
    """Contributions by the published rows and finished studies, for predictions on a target."""
    x = np.array([features(gain.shared, gain.images) for gain in gains]).reshape(-1, len(FEATURES))
    points = np.array([gain.points for gain in gains])
    return fit(x, points, [gain.target for gain in gains], published_prior(), target)


class _Advisor:
    """What is known of sets of subsets for one target."""

    def __init__(
        self, registry: Registry, relations: Relations, capacity: Mapping[str, int] | None, gains: Sequence[Gain],
        learned: Contributions, images: int,
    ) -> None:  # fmt: skip
        self.registry, self.relations, self.capacity = registry, relations, capacity
        self.gains, self.learned, self.images = gains, learned, images
        found = [c for boxes in (False, True) for c in enumerate_combinations(registry, detection=boxes)]
        self.combinations = [c for c in found if c.target == relations.target.no]

    def best(self, sets: Sequence[tuple[SubsetSpec, ...]], top: int) -> tuple[Suggestion, ...]:
        """The sets with the largest expected gain; of equals, those that share more in the fine view, then larger."""
        target = self.relations.target.key
        ranked = []
        for chosen in sets:
            images = self._images(chosen)
            expected = self.learned.expect(features([self.relations.widest(spec) for spec in chosen], images), target)
            fine = sum(len(self.relations.shared(spec)) for spec in chosen)
            ranked.append(((-round(expected.mean, 6), -fine, -sum(images or ())), chosen, images, expected))
        ranked.sort(key=lambda entry: entry[0])
        return tuple(self._suggestion(*entry[1:]) for entry in ranked[:top])

    def _images(self, chosen: Sequence[SubsetSpec]) -> tuple[int, ...] | None:
        if self.capacity is None:
            return None
        there = {spec.key: self.capacity[spec.key] for spec in chosen}
        counts = equal_counts(there, min(self.images, sum(there.values())))
        return tuple(counts[spec.key] for spec in chosen)

    def _suggestion(
        self, chosen: tuple[SubsetSpec, ...], images: tuple[int, ...] | None, expected: Estimate
    ) -> Suggestion:
        keys, numbers = tuple(spec.key for spec in chosen), {spec.no for spec in chosen}
        target, widest = self.relations.target, [self.relations.widest(spec) for spec in chosen]
        named: list[Combination] = [c for c in self.combinations if numbers <= set(c.related)]
        if len(chosen) > 1:
            named = [c for c in named if numbers == set(c.related)]
        alike = [gain for gain in self.gains if set(gain.shared) == set(widest)]
        same = [gain for gain in alike if gain.target == target.key and set(gain.subsets) == set(keys)]
        return Suggestion(
            subsets=keys,
            triplets=tuple(str(spec.triplet) for spec in chosen),
            expected=expected,
            shared=tuple(self._shared(spec) for spec in chosen),
            missing=_missing(self.relations, keys),
            images=images,
            directions=tuple(dict.fromkeys(c.direction for c in named)),
            published=tuple(dict.fromkeys(f"T{r.table}.{r.row}" for c in named for r in rows_of(c, self.registry))),
            runs=sum(gain.runs for gain in alike),
            measured=float(np.mean([gain.points for gain in same])) if same else None,
            mind=tuple(f"{spec.key} equals the target at the parent level" for spec in chosen
                       if coarse(spec.triplet) == coarse(target.triplet)),
        )  # fmt: skip

    def _shared(self, spec: SubsetSpec) -> tuple[str, ...]:
        target = self.relations.target
        tags = sorted(task_names(spec, target) & task_names(target, target))
        other = "task" not in self.relations.shared(spec) and tags
        return tuple(f"task as {'/'.join(tags)}" if name == "task" and other else name
                     for name in ELEMENTS if name in self.relations.widest(spec))  # fmt: skip


def _missing(relations: Relations, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name, there in relations.coverage(keys, widest=True).items() if not there)
