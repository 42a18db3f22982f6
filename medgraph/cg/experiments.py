"""The experiments of the laboratory: one target, and arms that train on different subsets.

Every arm of an experiment trains on the same number of images, for the same number of steps unless it says otherwise,
and is asked about the same test images.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from medgraph.cg.combinations import Combination
from medgraph.cg.relations import Relations
from medgraph.config import ConfigError
from medgraph.data.plan import equal_counts
from medgraph.data.records import ELEMENTS
from medgraph.data.subsets import Pool

Kind = Literal["combination", "detection", "break", "overlap", "low_data", "scale", "multi_task"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CONDITIONS = (
    "zero_shot", "baseline_plus", "related", "alone", "label_shuffled", "only_modality", "only_area", "only_task",
    "target", "placebo",
)  # fmt: skip
"""What a combination is compared with; ``related`` itself is always there."""
PAPER_CONDITIONS = ("zero_shot", "baseline_plus", "related")
"""The columns of Med-MAT's Table 3."""
TARGET_IMAGES = (0, 20, 50, 100, 200, 500, 1000, 2000)
"""Images of the target that low-data arms add (Med-MAT, Fig. 6: 0 to 2,000)."""
LOCALISING_IMAGES = 100
"""Images of a detection target on top of others (Med-MAT, Table 5, which does not say how many)."""
OVERLAPS = ("zero_overlap", "one_shared", "two_shared", "three_shared")
"""Arms by how many elements a subset shares with the target."""
RELATED_IMAGES = (0, 50, 100, 250, 500, 1000, 2000, 3000)
"""Images of related subsets that scale arms train on (Med-MAT, Fig. 5: 0 to 3,000)."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One training set of an experiment.

    Attributes:
        name: of the arm.
        subsets: keys to draw from.
        images: how many in total.
        at_random: draw images out of all subsets together, with each seed anew, instead of equally many of each.
        drop: leave out so many of the subsets, with each seed others.
        target_images: images of the target itself on top.
        shuffled: give the images each other's questions and answers.
        steps: share of the steps of the other arms.
    """

    name: str
    subsets: tuple[str, ...] = ()
    images: int = 0
    at_random: bool = False
    drop: int = 0
    target_images: int = 0
    shuffled: bool = False
    steps: float = 1.0

    def counts(self, capacity: Mapping[str, int], target: str, seed: int) -> dict[str, int]:
        """Images of each subset.

        Args:
            capacity: images that each subset can give.
            target: key of the target.
            seed: of the draw, where there is one.
        """
        generator = random.Random(f"{target} {self.name} {seed}")
        subsets = sorted(self.subsets)
        if self.drop:
            subsets = sorted(generator.sample(subsets, len(subsets) - self.drop))
        if self.at_random:
            drawn = generator.sample(subsets, self.images, counts=[capacity[key] for key in subsets])
            counts = dict(sorted(Counter(drawn).items()))
        else:
            counts = equal_counts({key: capacity[key] for key in subsets}, self.images) if self.images else {}
        return {**counts, **({target: self.target_images} if self.target_images else {})}


@dataclass(frozen=True, slots=True)
class Experiment:
    """Arms on one target.

    Attributes:
        kind: what is asked.
        target: key of the tested subset.
        arms: the training sets, all of one size unless the kind varies it.
        related: keys of the combined subsets, for combinations.
        direction: of the combination.
        flags: what a reader has to know: leaks, arms that do not exist and why.
    """

    kind: Kind
    target: str
    arms: tuple[Arm, ...]
    related: tuple[str, ...] = ()
    direction: str = ""
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique in a plan: ``fixed_task a + b -> target``, ``break target``."""
        joined = " + ".join(self.related)
        return f"{self.direction} {joined} -> {self.target}" if self.related else f"{self.kind} {self.target}"


def _some(subsets: Sequence[str], count: int, images: int, capacity: Mapping[str, int], seed: str) -> list[str]:
    """Subsets at random: so many, or more where these have too few images."""
    shuffled = random.Random(seed).sample(subsets, len(subsets))
    while count < len(shuffled) and sum(capacity[key] for key in shuffled[:count]) < images:
        count += 1
    return shuffled[:count]


def _flags(combination: Combination) -> list[str]:
    leaks = ["a related subset equals the target at the parent level"] if combination.coarse_leak else []
    return [*leaks, *(f"a related subset shares {name} with the target" for name in combination.shared_sources)]


def _beyond(grid: Sequence[int], there: int, what: str) -> list[str]:
    """What a reader has to know of sizes that are larger than the data."""
    left_out = ", ".join(str(size) for size in grid if size > there)
    return [f"no arms of {left_out}: there are {there} {what}"] if left_out else []


class Designer:
    """Designs experiments on a pool.

    Args:
        pool: the subsets.
        images: largest number of training images of an arm.
    """

    def __init__(self, pool: Pool, images: int) -> None:
        self.pool, self.images = pool, images
        self._capacity: dict[str, dict[str, int]] = {}

    def capacity(self, target: str) -> dict[str, int]:
        """Images that each subset can give to experiments on a target."""
        if target not in self._capacity:
            self._capacity[target] = {key: self.pool.capacity(key, target) for key in self.pool.records}
        return self._capacity[target]

    def combination(self, combination: Combination, conditions: Sequence[str] = PAPER_CONDITIONS) -> Experiment:
        """Related subsets against their controls (Med-MAT, Tables 3 and 10).

        Where a control cannot have as many images as the related subsets, all arms get fewer, down to half of them;
        a control that is smaller still does not exist. The target's own arm, the upper bound, has what there is. The
        placebo is as many unrelated subsets as there are related ones; whatever is said in its favour is chance.
        """
        target, related = self._keys(combination)
        return self.recombine(target, related, combination.direction, conditions, _flags(combination))

    def detection(self, combination: Combination, conditions: Sequence[str] = PAPER_CONDITIONS) -> Experiment:
        """Classification and detection across each other (Med-MAT, Tables 5, 13 and 14).

        A classification target is an experiment like any other. A model has to see some boxes on images like those of a
        detection target to place any, so all arms have `LOCALISING_IMAGES` of the target itself on top.
        """
        target, related = self._keys(combination)
        relations, capacity = self._relations(target), self.capacity(target)
        if relations.target.kind == "cls":
            return self.combination(combination, conditions)
        bases = {"related": related, "unrelated": tuple(relations.unrelated())}
        there = {name: sum(capacity[key] for key in keys) for name, keys in bases.items()}
        own = min(LOCALISING_IMAGES, capacity[target])
        if not there["related"] or not own:
            raise ConfigError(f"{target}: {own} images of its own and {there['related']} related ones; both are needed")
        images = min(self.images, *(n for n in there.values() if n))
        arms = [Arm(f"{name} + {own} target", keys, images, name == "unrelated", target_images=own)
                for name, keys in bases.items() if there[name]]  # fmt: skip
        arms += [Arm(f"{own} target", target_images=own)]
        missing = [] if there["unrelated"] else ["no arm unrelated: no images"]
        return Experiment("detection", target, (Arm("zero_shot"), *arms), related, combination.direction,
                          (*_flags(combination), *missing))  # fmt: skip

    def recombine(
        self, target: str, related: tuple[str, ...], direction: str = "chosen",
        conditions: Sequence[str] = PAPER_CONDITIONS, flags: Sequence[str] = (),
    ) -> Experiment:  # fmt: skip
        """Any subsets as the related ones of a target.

        Raises:
            ConfigError: if a related subset has no images to train on.
        """
        capacity, relations = self.capacity(target), self._relations(target)
        if empty := [key for key in related if not capacity[key]]:
            raise ConfigError(f"{empty[0]}: has no training image that is not in the test set of {target}")
        total = min(self.images, sum(capacity[key] for key in related))
        controls = {"baseline_plus": relations.unrelated()}
        controls |= {f"only_{element}": relations.sharing_only(element) for element in ELEMENTS}
        controls["placebo"] = _some(controls["baseline_plus"], len(related), total, capacity, " ".join(related))
        wanted = {name: keys for name, keys in controls.items() if name in conditions}
        there = {name: sum(capacity[key] for key in keys) for name, keys in wanted.items()}
        images = min([total, *(n for n in there.values() if 2 * n >= total)])
        missing = [f"no arm {name}: {there[name]} images for {total}" for name in wanted if 2 * there[name] < total]
        smaller = [f"all arms have {images} images, for want of more in a control"] if images < total else []
        arms = [Arm("related", related, images)]
        if "zero_shot" in conditions:
            arms.insert(0, Arm("zero_shot"))
        if "alone" in conditions:
            arms += [Arm(f"alone {key}", (key,), min(images, capacity[key])) for key in related]
        if "label_shuffled" in conditions:
            arms.append(Arm("label_shuffled", related, images, shuffled=True))
        arms += [Arm(name, tuple(keys), images, at_random=name == "baseline_plus")
                 for name, keys in wanted.items() if there[name] >= images]  # fmt: skip
        if "target" in conditions and capacity[target]:
            arms.append(Arm("target", target_images=min(images, capacity[target])))
        return Experiment("combination", target, tuple(arms), related, direction, (*flags, *missing, *smaller))

    def break_up(self, target: str) -> Experiment:
        """All related subsets, and what is left without those that share an element (Med-MAT, Fig. 4).

        Every ``without X`` has a control that drops as many random related subsets.
        """
        relations, capacity = self._relations(target), self.capacity(target)
        everything = relations.related()
        groups = {"all_related": everything, "all_unrelated": relations.unrelated(),
                  "all_data": [spec.key for spec in relations.pool]}  # fmt: skip
        groups |= {f"without_{element}": relations.related(without=element) for element in ELEMENTS}
        there = {name: sum(capacity[key] for key in keys) for name, keys in groups.items()}
        kept = {name: keys for name, keys in groups.items() if there[name]}
        if "all_related" not in kept:
            raise ConfigError(f"{target}: no related subset has training images, so nothing can be broken")
        images = min(self.images, *(there[name] for name in kept))
        arms = [Arm("zero_shot"), *(Arm(name, tuple(keys), images) for name, keys in kept.items())]
        for element in ELEMENTS:
            drop = len(everything) - len(groups[f"without_{element}"])
            smallest = sum(sorted(capacity[key] for key in everything)[: len(everything) - drop])
            if f"without_{element}" in kept and drop and smallest >= images:
                arms.append(Arm(f"without_random for {element}", tuple(everything), images, drop=drop))
        missing = tuple(f"no arm {name}: no images" for name in groups if name not in kept)
        smaller = (f"all arms have {images} images, as many as the smallest",) if images < self.images else ()
        return Experiment("break", target, tuple(arms), flags=(*missing, *smaller))

    def overlap(self, target: str) -> Experiment:
        """Subsets that share nothing, one, two or all elements with the target, by every name of a task.

        The arm without any is the zero-overlap split of CrossMed (arXiv:2511.11034); all three elements are shared
        by subsets that equal the target at the parent level.
        """
        relations, capacity = self._relations(target), self.capacity(target)
        groups: dict[str, list[str]] = {name: [] for name in OVERLAPS}
        for spec in relations.pool:
            groups[OVERLAPS[len(relations.widest(spec))]].append(spec.key)
        there = {name: sum(capacity[key] for key in keys) for name, keys in groups.items()}
        kept = [name for name, n in there.items() if n]
        if kept in ([], ["zero_overlap"]):
            raise ConfigError(f"{target}: no related subset has training images, so there is no overlap to compare")
        images = min(self.images, *(there[name] for name in kept))
        missing = tuple(f"no arm {name}: no images" for name in OVERLAPS if name not in kept)
        smaller = (f"all arms have {images} images, as many as the smallest",) if images < self.images else ()
        arms = [Arm(name, tuple(groups[name]), images) for name in kept]
        return Experiment("overlap", target, (Arm("zero_shot"), *arms), flags=(*missing, *smaller))

    def low_data(self, target: str, grid: Sequence[int] = TARGET_IMAGES) -> Experiment:
        """Few images of the target on top of related, of unrelated, and of no other images (Med-MAT, Fig. 6)."""
        bases, images = self._bases(target)
        sizes = [n for n in grid if n <= self.capacity(target)[target]]
        arms = [Arm(f"{name} + {n} target", tuple(keys), images, name == "unrelated", target_images=n)
                for name, keys in bases.items() for n in sizes]  # fmt: skip
        arms += [Arm(f"{n} target", target_images=n) for n in sizes if n]
        smaller = f"related and unrelated arms have {images} images each, as many as both can give"
        flags = [smaller] * (images < self.images) + _beyond(
            grid, self.capacity(target)[target], "images of the target"
        )
        return Experiment("low_data", target, (Arm("zero_shot"), *arms), flags=tuple(flags))

    def scale(self, target: str, grid: Sequence[int] = RELATED_IMAGES) -> Experiment:
        """More and more related, or unrelated, images (Med-MAT, Fig. 5)."""
        bases, images = self._bases(target)
        arms = [Arm(f"{n} {name}", tuple(keys), n, name == "unrelated")
                for name, keys in bases.items() for n in grid if 0 < n <= images]  # fmt: skip
        flags = _beyond(grid, images, "images that related and unrelated subsets can both give")
        return Experiment("scale", target, (Arm("zero_shot"), *arms), flags=tuple(flags))

    def multi_task(self, target: str) -> Experiment:
        """All subsets together against the target's own, in as many epochs and in as many steps (Tables 1 and 2)."""
        capacity, relations = self.capacity(target), self._relations(target)
        own = min(capacity[target], self.images)
        if not own:
            raise ConfigError(f"{target}: has no training images of its own")
        others = [spec.key for spec in relations.pool if capacity[spec.key]]
        images = min(sum(capacity[key] for key in others), own * len(others))
        return Experiment("multi_task", target, (
            Arm("zero_shot"),
            Arm("multi_task", tuple(others), images, target_images=own),
            Arm("single_task", target_images=own, steps=own / (own + images)),
            Arm("single_task, as many steps", target_images=own),
        ))  # fmt: skip

    def _keys(self, combination: Combination) -> tuple[str, tuple[str, ...]]:
        registry = self.pool.registry
        return registry[combination.target].key, tuple(registry[no].key for no in combination.related)

    def _bases(self, target: str) -> tuple[dict[str, list[str]], int]:
        """Related and unrelated subsets, and the number of images that both can give."""
        relations, capacity = self._relations(target), self.capacity(target)
        bases = {"related": relations.related(), "unrelated": relations.unrelated()}
        there = {name: sum(capacity[key] for key in keys) for name, keys in bases.items()}
        if empty := [name for name, n in there.items() if not n]:
            raise ConfigError(f"{target}: no {empty[0]} subset has training images; choose another target")
        return bases, min(self.images, *there.values())

    def _relations(self, target: str) -> Relations:
        registry = self.pool.registry
        spec = next((spec for spec in registry if spec.key == target), None)
        if spec is None:
            raise ConfigError(f"target {target!r}: no such subset; there are {', '.join(self.pool.records)}")
        if not self.pool.test_set(target):
            raise ConfigError(f"target {target}: has no test images; choose another target")
        return Relations(registry, spec)
