"""Enumerate the subsets that recombine to a target triplet (Med-MAT, arXiv:2412.20070, section 3).

A combination names two or three related subsets whose elements, put together, make the target's triplet. The paper
calls a subset by whichever of its task categories suits the row, so every combination is found under *views*: one task
tag for each related subset and for the target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from medgraph.cg.relations import DET_TWIN, task_names
from medgraph.data.records import MATTriplet
from medgraph.data.registry import Registry, SubsetSpec
from medgraph.data.vocabulary import TASK_PARENT

Direction = Literal["fixed_modality", "fixed_area", "fixed_task", "modality_area_pair", "three_source"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
M, A, T = "modality", "area", "task"
PATTERNS: dict[Direction, tuple[frozenset[str], ...]] = {
    "fixed_modality": (frozenset({M, A}), frozenset({M, T})),
    "fixed_area": (frozenset({M, A}), frozenset({A, T})),
    "fixed_task": (frozenset({M, T}), frozenset({A, T})),
    "modality_area_pair": (frozenset({M, A}), frozenset({T})),
    "three_source": (frozenset({M}), frozenset({A}), frozenset({T})),
}
"""What each related subset shares with the target, no more and no less."""


@dataclass(frozen=True, slots=True, order=True)
class Combination:
    """Related subsets and the target they recombine to.

    Attributes:
        direction: which element stays fixed, or ``three_source``.
        target: number of the target subset.
        related: numbers of the related subsets, in the order of ``PATTERNS``.
        views: task tags under which the pattern holds, each ``first+second->target``, sorted.
        coarse_leak: a related subset equals the target once tasks are replaced by their parents, and detection by its
            twin, so the target is an unseen combination in the fine view only.
        shared_sources: names of source data sets that a related subset and the target have in common.
    """

    direction: Direction
    target: int
    related: tuple[int, ...]
    views: tuple[str, ...]
    coarse_leak: bool
    shared_sources: tuple[str, ...]


def enumerate_combinations(
    registry: Registry, directions: Iterable[Direction] = DIRECTIONS, *, detection: bool = False
) -> list[Combination]:
    """All combinations of the classification subsets of a registry, in a fixed order.

    Targets and siblings (subsets with the target's fine triplet) are never related subsets. Fixed directions skip
    targets whose modality and area occur with each other only; ``modality_area_pair`` takes those and no others, for
    target and second subset. ``three_source`` compares fine categories, the other directions every tag.

    Detection and segmentation subsets join in pairs. For a classification target their tasks also go by their twins
    (`medgraph.cg.relations.DET_TWIN`). A detection target has its task from subsets with boxes, whatever they find, and
    may have any modality and area, and so may the second subset beside one with boxes.

    Args:
        registry: built-in or the user's own.
        directions: which to enumerate.
        detection: the combinations with a detection or segmentation subset, instead of those without.

    Returns:
        Combinations by direction (as in ``DIRECTIONS``), target, related subsets.

    Raises:
        ValueError: for an unknown direction.
    """
    wanted = tuple(directions)
    if unknown := set(wanted) - set(DIRECTIONS):
        raise ValueError(f"unknown direction {min(unknown)!r}; known: {', '.join(DIRECTIONS)}")
    classes = [spec for spec in registry if spec.kind == "cls"]
    exclusive = exclusive_pairs(classes)
    sources = registry.shared_datasets()
    found = [
        combination
        for direction in DIRECTIONS
        if direction in wanted and not (detection and direction == "three_source")
        for target in (registry if detection else classes)
        if direction == "three_source"
        or target.kind != "cls"
        or (direction == "modality_area_pair") == (pair(target) in exclusive)
        for combination in _of_target(direction, target, registry if detection else classes, exclusive, sources)
    ]
    return [c for c in found if detection == _localises([registry[no] for no in (c.target, *c.related)])]


def pair(spec: SubsetSpec) -> tuple[str, str]:
    """Modality and area of a subset."""
    return spec.triplet.modality, spec.triplet.area


def exclusive_pairs(subsets: Iterable[SubsetSpec]) -> frozenset[tuple[str, str]]:
    """Modality-area pairs whose modality and area occur with no other area or modality."""
    pairs = {pair(spec) for spec in subsets}
    areas, modalities = defaultdict(set), defaultdict(set)
    for modality, area in pairs:
        areas[modality].add(area)
        modalities[area].add(modality)
    return frozenset((m, a) for m, a in pairs if len(areas[m]) == 1 and len(modalities[a]) == 1)


def coarse(triplet: MATTriplet) -> MATTriplet:
    """The triplet with its task replaced by its twin and by the parent category, where there are any."""
    task = DET_TWIN.get(triplet.task, triplet.task)
    return MATTriplet(triplet.modality, triplet.area, TASK_PARENT.get(task, task))


def _of_target(
    direction: Direction,
    target: SubsetSpec,
    subsets: Iterable[SubsetSpec],
    exclusive: frozenset[tuple[str, str]],
    sources: dict[frozenset[int], tuple[str, ...]],
) -> Iterator[Combination]:
    pool = [spec for spec in subsets if spec.triplet != target.triplet]
    views: dict[tuple[int, ...], set[str]] = defaultdict(set)
    for task in _tags(direction, target, target):
        view = MATTriplet(*pair(target), task)
        candidates = [
            [(spec, tag) for spec in pool for tag in _tags(direction, spec, target)
             if MATTriplet(*pair(spec), tag).shared(view) == pattern]
            for pattern in PATTERNS[direction]
        ]  # fmt: skip
        for chosen in product(*candidates):
            specs = [spec for spec, _ in chosen]
            numbers = tuple(spec.no for spec in specs)
            alone = pair(specs[1]) in exclusive or _localises([target, specs[0]])
            if len(set(numbers)) == len(numbers) and (alone or direction != "modality_area_pair"):
                views[numbers].add("+".join(tag for _, tag in chosen) + f"->{task}")
    by_number = {spec.no: spec for spec in pool}
    for related in sorted(views):
        yield Combination(
            direction=direction,
            target=target.no,
            related=related,
            views=tuple(sorted(views[related])),
            coarse_leak=any(coarse(by_number[no].triplet) == coarse(target.triplet) for no in related),
            shared_sources=tuple(name for no in related for name in sources.get(frozenset({no, target.no}), ())),
        )


def _localises(specs: Iterable[SubsetSpec]) -> bool:
    return any(spec.kind != "cls" for spec in specs)


def _tags(direction: Direction, spec: SubsetSpec, target: SubsetSpec) -> list[str]:
    """Tasks that a subset goes by before a target."""
    if direction == "three_source":
        return [spec.triplet.task]
    return sorted(task_names(spec, target))
