"""The rows of Med-MAT's Tables 3, 10, 13 and 14 (arXiv:2412.20070 v2), and the combinations that each can mean."""

from __future__ import annotations

import csv
from collections.abc import Set
from dataclasses import dataclass
from functools import cache
from importlib import resources

from medgraph.cg.combinations import Combination, Direction
from medgraph.data.registry import Registry, SubsetSpec


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published experiment.

    Attributes:
        table: 3 or 10; with detection subsets 13 (NExT-Chat) or 14 (MiniGPT-v2).
        row: number in the table, from 1.
        direction: as printed; Table 10 is ``three_source``.
        related: what the paper prints: ``modality/area/task`` with ``*`` where it prints nothing, or subset numbers
            (Table 10, from version 1).
        target: the same for the target.
        subset: the target subset; outside of Table 10 inferred from its printed accuracies.
        zero_shot: accuracy in %.
        baseline_plus: accuracy in % after training on as many unrelated samples; None outside of Table 3.
        trained: accuracy in % after training on the related subsets.
    """

    table: int
    row: int
    direction: Direction
    related: tuple[str, ...]
    target: str
    subset: int
    zero_shot: int
    baseline_plus: int | None
    trained: int

    @property
    def ticked(self) -> bool:
        """The paper's verdict: trained is strictly above both controls."""
        return self.trained > max(self.zero_shot, self.baseline_plus or 0)


@cache
def published_rows(tables: tuple[int, ...] = (3, 10)) -> tuple[PublishedRow, ...]:
    """The rows of some tables: 43 of Table 3, 9 of Table 10, 8 of Table 13 and the same of Table 14."""
    text = (resources.files("medgraph.cg") / "resources" / "published.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedRow(
            table=int(line["table"]),
            row=int(line["row"]),
            direction=line["direction"],  # type: ignore[arg-type]  # packaged table
            related=tuple(line["related"].split(" ")),
            target=line["target"],
            subset=int(line["subset"]),
            zero_shot=int(line["zero_shot"]),
            baseline_plus=int(line["baseline_plus"]) if line["baseline_plus"] else None,
            trained=int(line["trained"]),
        )
        for line in csv.DictReader(text.splitlines())
        if int(line["table"]) in tables
    )


def rows_of(combination: Combination, registry: Registry) -> list[PublishedRow]:
    """The published rows that a combination of the built-in registry may be."""
    return [row for row in published_rows((3, 10, 13, 14)) if _means(row, combination, registry)]


def _means(row: PublishedRow, combination: Combination, registry: Registry) -> bool:
    if (row.direction, row.subset) != (combination.direction, combination.target):
        return False
    if row.direction == "three_source":
        return tuple(map(int, row.related)) == combination.related
    numbers = (*combination.related, combination.target)
    if (row.table in (13, 14)) != any(registry[no].kind != "cls" for no in numbers):
        return False
    by_view = row.direction != "fixed_task"
    return any(
        all(
            # under a fixed task, a printed task only tells apart subsets of one modality and area: any tag will do;
            # detection tasks are printed by name also where they stand for their twins
            _matches(printed, registry[no], {tag} if by_view and registry[no].kind == "cls" else registry[no].tags)
            for printed, no, tag in zip((*row.related, row.target), numbers, _tasks(view), strict=True)
        )
        for view in combination.views
    )


def _tasks(view: str) -> list[str]:
    related, _, target = view.partition("->")
    return [*related.split("+"), target]


def _matches(printed: str, spec: SubsetSpec, tasks: Set[str]) -> bool:
    modality, area, task = printed.split("/")
    return (
        modality in ("*", spec.triplet.modality) and area in ("*", spec.triplet.area) and (task == "*" or task in tasks)
    )
