"""Which subsets are related to a target, and how (Med-MAT, arXiv:2412.20070)."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

from medgraph.config import ConfigError
from medgraph.config.errors import suggest
from medgraph.data.records import ELEMENTS
from medgraph.data.registry import Registry, SubsetSpec

DET_TWIN = {"disease_det": "diseases", "lesion_det": "cancer", "cancer_det": "cancer"}
"""What finding something teaches of naming it (Med-MAT, Tables 13 and 14)."""
LOCALISING = "detection"
"""The task that all subsets with boxes have in common where a box is asked for (Table 5)."""
PARTS = (*((name,) for name in ELEMENTS), *combinations(ELEMENTS, 2))
"""Elements and pairs of elements."""


class Relations:
    """The subsets around one target that may train for it.

    The target, its siblings (subsets with its fine triplet) and subsets that share a source data set with it are left
    out.

    Args:
        registry: the subsets that are there.
        target: one of them.

    Attributes:
        target: the target.
        pool: the subsets that are left.
        left_out: why a subset is not in the pool, by key.
    """

    def __init__(self, registry: Registry, target: SubsetSpec) -> None:
        self.target = target
        sources = registry.shared_datasets()
        self.left_out: dict[str, str] = {}
        for spec in registry:
            shared = sources.get(frozenset({spec.no, target.no}), ())
            if spec.no == target.no:
                continue
            if spec.triplet == target.triplet:
                self.left_out[spec.key] = f"has the target's triplet {target.triplet}"
            elif shared:
                self.left_out[spec.key] = f"shares {', '.join(shared)} with the target"
        self.pool = [spec for spec in registry if spec.no != target.no and spec.key not in self.left_out]

    def shared(self, spec: SubsetSpec) -> frozenset[str]:
        """Elements that a subset has in common with the target, in the fine view."""
        return spec.triplet.shared(self.target.triplet)

    def related(self, without: str | None = None) -> list[str]:
        """Keys of the subsets that share an element; with ``without``, of those that do not share that one."""
        return [spec.key for spec in self.pool if self.shared(spec) and without not in self.shared(spec)]

    def sharing_only(self, element: str) -> list[str]:
        """Keys of the subsets that share one element and no other, whichever of its names the task goes by."""
        return [spec.key for spec in self.pool if self.widest(spec) == {element}]

    def unrelated(self) -> list[str]:
        """Keys of the subsets that share nothing, whichever of its names a task goes by."""
        return [spec.key for spec in self.pool if not self.widest(spec)]

    def widest(self, spec: SubsetSpec) -> frozenset[str]:
        """Elements in common where a task counts as shared under any of its names, parents and twins included."""
        task = {"task"} if task_names(spec, self.target) & task_names(self.target, self.target) else set()
        return (self.shared(spec) - {"task"}) | task

    def coverage(self, keys: Collection[str], *, widest: bool = False) -> dict[str, bool]:
        """Which atoms and pairs of atoms of the target some subsets contain.

        Args:
            keys: subsets that train.
            widest: see `widest`; otherwise in the fine view.

        Returns:
            By name: modality, area, task, modality+area, modality+task, area+task.
        """
        view = self.widest if widest else self.shared
        shared = [view(spec) for spec in self.pool if spec.key in keys]
        return {"+".join(part): any(set(part) <= found for found in shared) for part in PARTS}


def task_names(spec: SubsetSpec, target: SubsetSpec) -> frozenset[str]:
    """Tasks that a subset goes by before a target: its tags, and those of detection and segmentation subsets.

    These go by the twins of their tasks before a classification target, and are all the same before one of their kind.
    """
    if spec.kind == "cls":
        return spec.tags
    return spec.tags | (
        {DET_TWIN[tag] for tag in spec.tags if tag in DET_TWIN} if target.kind == "cls" else {LOCALISING}
    )


def subset_of(registry: Registry, name: str) -> SubsetSpec:
    """Look a subset up by key, number or triplet.

    Raises:
        ConfigError: if there is none, or a triplet belongs to several.
    """
    known = {spec.key: spec for spec in registry}
    try:
        return known.get(name) or registry[name]
    except (KeyError, ValueError) as error:
        raise ConfigError(f"subset {name!r}: {error.args[0]}{suggest(name, known)}") from error
