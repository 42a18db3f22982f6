"""The leak audit: the same picture, patient or source on both sides of a split.

A test image that was also a training image, under whatever name, makes a result worthless. The audit compares every two
splits and every two subsets by path, by content, by appearance, by group and by patient, and says what it found.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from medgraph.data.hashing import NEAR, equal_files, near_pairs, signatures
from medgraph.data.records import Corpus

Classes = Iterable[tuple[Iterable[str], float]]
"""Images that share something, with the certainty of it."""

KINDS = {
    "same_image": "one image file in both",
    "equal_content": "different files with equal content",
    "same_group": "one group (patient, video …) in both",
    "same_patient": "one patient in both, although in different groups",
    "near_duplicate": "the same picture resized, re-encoded, inverted or brightened",
}
"""What two images can share, most certain first; an image is reported once for every other place, by its first kind."""

TRAINED = frozenset({"train", "task"})
"""Splits that are trained on one after the other; what these two share is no leak and is not reported."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image is used.

    Attributes:
        split: name of the split.
        subset: name of the subset.
        image: path relative to the root.
    """

    split: str
    subset: str
    image: str

    def __str__(self) -> str:
        return f"{self.split} {self.subset} {self.image}"


@dataclass(frozen=True, slots=True)
class Leak:
    """Two places that share something.

    Attributes:
        kind: one of `KINDS`.
        first: one place.
        second: the other.
        score: correlation for near duplicates, otherwise 1.
    """

    kind: str
    first: Place
    second: Place
    score: float = 1.0

    @property
    def across_splits(self) -> bool:
        """True if the two places are in different splits."""
        return self.first.split != self.second.split


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        leaks: images that are, or share something with, an image of an earlier split or another subset.
        sources: source to images by (split, subset), for sources that more than one subset draws on.
        sizes: images of each split.
        images: different images in all of them.
        compared: kinds that could be compared; patients and sources need facts about the images.
    """

    leaks: tuple[Leak, ...]
    sources: Mapping[str, Mapping[tuple[str, str], int]]
    sizes: Mapping[str, int]
    images: int
    compared: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """True if no picture, group or patient is in two splits."""
        return not any(leak.across_splits for leak in self.leaks)

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Number of images of the second split by (kind, first split, second split)."""
        images: dict[tuple[str, str, str], set[str]] = {}
        for leak in self.leaks:
            images.setdefault((leak.kind, leak.first.split, leak.second.split), set()).add(leak.second.image)
        return {key: len(images[key]) for key in sorted(images, key=_rank)}

    def verdict(self) -> str:
        """What is shared between splits, and what can be done about it, in a few sentences for a report."""
        found: dict[tuple[str, bool], list[Leak]] = {}
        for leak in self.leaks:
            if leak.across_splits:
                found.setdefault((leak.second.split, leak.kind == "near_duplicate"), []).append(leak)
        if not found:
            checks = ", ".join(_words(kind) for kind in self.compared)
            return f"No leak between splits; {self.images} images compared by {checks}."
        parts = []
        for (split, near), leaks in found.items():
            number = len({leak.second.image for leak in leaks})
            earlier = ", ".join(name for name in self.sizes if any(leak.first.split == name for leak in leaks))
            kinds = ", ".join(_words(kind) for kind in KINDS if any(leak.kind == kind for leak in leaks))
            verb = "look like images of" if near else "are also in"
            parts.append(f"{number} of {self.sizes[split]} {split} images {verb} {earlier} ({kinds})")
        example = next(leak for leak in self.leaks if leak.across_splits)
        pair = f"{example.first.split} {example.first.image} and {example.second.split} {example.second.image}"
        return f"LEAK: {'; '.join(parts)}. For example {pair}. {_ways_out(self.leaks)}"

    def notes(self) -> dict[str, int]:
        """Counts of what splits share, for the notes of a corpus."""
        return {
            f"{second} images that {first} shares ({_words(kind)})": count
            for (kind, first, second), count in self.counts().items()
            if first != second
        }

    def render(self, examples: int = 8) -> RenderableType:
        """Tables of counts, first examples and shared sources, and the verdict."""
        parts: list[RenderableType] = []
        if self.leaks:
            table = Table("shared", "between", "images", "meaning", title="Leak audit")
            for (kind, first, second), count in self.counts().items():
                where = f"{first} and {second}" if first != second else f"subsets of {first}"
                style = "red" if first != second else "yellow"
                table.add_row(_words(kind), where, str(count), KINDS[kind], style=style)
            shown = Table("shared", "score", title="Examples")
            for name in ("first", "second"):
                shown.add_column(name, overflow="fold")
            ranked = sorted(self.leaks, key=lambda leak: _rank((leak.kind, leak.first.split, leak.second.split)))
            for leak in ranked[:examples]:
                shown.add_row(_words(leak.kind), f"{leak.score:.3f}", str(leak.first), str(leak.second))
            parts += [table, shown]
        if self.sources:
            table = Table("source", "images by split and subset", title="Sources that several subsets draw on")
            for source, uses in self.sources.items():
                table.add_row(source, ", ".join(f"{split} {subset}: {n}" for (split, subset), n in uses.items()))
            parts.append(table)
        return Group(*parts, self.verdict())

    def write(self, path: Path) -> None:
        """Write all findings as JSON."""
        sources = {
            source: {f"{split}/{subset}": n for (split, subset), n in uses.items()}
            for source, uses in self.sources.items()
        }
        content = {"verdict": self.verdict(), "sizes": dict(self.sizes), "compared": list(self.compared),
                   "sources": sources, "leaks": [asdict(leak) for leak in self.leaks]}  # fmt: skip
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _ways_out(leaks: Iterable[Leak]) -> str:
    """What removes leaks between splits, within one data set and between several."""
    across = [leak for leak in leaks if leak.across_splits]
    inside = [leak for leak in across if _data_set(leak.first) == _data_set(leak.second)]
    ways = []
    if any(_name(leak.second.split) == "test" for leak in inside):
        ways.append("data.rule=clean takes images and groups of a published test split out of the others.")
    if any(leak.kind not in ("same_image", "same_group") for leak in inside):
        ways.append("Pictures that differ in name only, and those of one patient, stay together under one group: the "
                    "column group of a table, groups.csv of Med-MAT (medgraph.data.regroup writes it).")  # fmt: skip
    if len(inside) < len(across):
        ways.append("Of two data sets that share pictures, train on one.")
    return " ".join([*ways, "medgraph data audit PATH --out FILE lists all of them."])


def _rank(key: tuple[str, str, str]) -> tuple[bool, int]:
    kind, first, second = key
    return first == second, list(KINDS).index(kind)


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def audit(
    corpus: Corpus,
    root: Path | None,
    patients: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    near: bool = True,
    threshold: float = NEAR,
) -> AuditReport:
    """Look for shared pictures, groups, patients and sources between any two splits and any two subsets.

    Without ``near`` nothing is decoded and only files of equal size are read, so every run can afford it.

    Args:
        corpus: the data as it is used.
        root: folder of the images; None for images without files, which are compared by name and group only.
        patients: image to patient, where known.
        sources: image to published source, where known.
        near: also compare appearance, which decodes every image.
        threshold: smallest absolute correlation of near duplicates.

    Raises:
        DataError: if an image is missing or cannot be read.
    """
    places: dict[str, set[Place]] = {}
    groups: dict[str, set[str]] = {}
    for split, records in corpus.splits.items():
        for record in records:
            places.setdefault(record.image, set()).add(Place(split, record.subset, record.image))
            groups.setdefault(record.group, set()).add(record.image)
    images = sorted(places)
    shared: dict[str, Classes] = {"same_image": (([image], 1.0) for image in images)}
    if root is not None:
        shared["equal_content"] = _certain(equal_files(images, root))
    shared["same_group"] = _certain(groups.values())
    if patients:
        shared["same_patient"] = _certain(_by_value(images, patients).values())
    if near and root is not None:
        shared["near_duplicate"] = _near(images, root, threshold)
    ranks = {split: rank for rank, split in enumerate(corpus.splits)}
    found: dict[tuple[str, str, Place], Leak] = {}
    for kind, classes in shared.items():
        for members, score in classes:
            for first, second in _crossings([place for image in members for place in places[image]], ranks):
                found.setdefault((first.split, first.subset, second), Leak(kind, first, second, score))
    sizes = {split: len({record.image for record in records}) for split, records in corpus.splits.items()}
    compared = (*shared, *(["same_source"] if sources else []))
    return AuditReport(tuple(found.values()), _shared_sources(places, sources or {}), sizes, len(images), compared)


def _shared_sources(
    places: Mapping[str, set[Place]], sources: Mapping[str, str]
) -> dict[str, dict[tuple[str, str], int]]:
    uses: dict[str, Counter[tuple[str, str]]] = {}
    for source, images in _by_value(places, sources).items():
        uses[source] = Counter((place.subset, place.split) for image in images for place in places[image])
    return {
        source: {(split, subset): count for (subset, split), count in sorted(use.items())}
        for source, use in uses.items()
        if len({subset for subset, _ in use}) > 1
    }


def _certain(classes: Iterable[Iterable[str]]) -> Classes:
    return ((sorted(members), 1.0) for members in classes)


def _near(images: list[str], root: Path, threshold: float) -> Classes:
    for i, j, score in near_pairs(signatures(images, root), threshold):
        yield (images[i], images[j]), score


def _by_value(images: Iterable[str], facts: Mapping[str, str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for image in images:
        if facts.get(image):
            members.setdefault(facts[image], []).append(image)
    return members


def _crossings(places: list[Place], ranks: Mapping[str, int]) -> Iterator[tuple[Place, Place]]:
    """Every place with one place in each earlier split or subset: the same image if it is there, else the first."""
    if len(places) < 2:
        return
    by_subset: dict[tuple[str, str], dict[str, Place]] = {}
    for place in sorted(places, key=lambda place: (ranks[place.split], place.subset, place.image)):
        by_subset.setdefault((place.split, place.subset), {})[place.image] = place
    for ((a, _), earlier), ((b, _), later) in itertools.combinations(by_subset.items(), 2):
        if a == b or not {_name(a), _name(b)} <= TRAINED:
            for image, place in later.items():
                yield earlier.get(image, next(iter(earlier.values()))), place


def _name(split: str) -> str:
    """Name of a split without the data set that `medgraph data audit A B` puts before it."""
    return split.rpartition(":")[2]


def _data_set(place: Place) -> str:
    """What `medgraph data audit A B` puts before the split."""
    return place.split.rpartition(":")[0]
