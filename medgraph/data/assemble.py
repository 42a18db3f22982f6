"""From subsets of labelled images to a corpus: hold out, split, cap, balance, and write two records an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.config import ConfigError
from medgraph.config.sources import SPLITS
from medgraph.data.extend import Extension, extend_answer
from medgraph.data.hashing import equal_files
from medgraph.data.images import ImageFolder
from medgraph.data.medmat_files import Item
from medgraph.data.records import Corpus, MATTriplet, Record, take_fraction
from medgraph.data.registry import SubsetSpec
from medgraph.data.splits import HELD_BACK, SHARES, choose_ood, split_of, take_balanced, take_strictly_balanced


@dataclass(frozen=True, slots=True)
class LoadedSubset:
    """One subset as it lies on disk.

    Attributes:
        spec: its registry entry.
        items: its released records.
        images: for each item the existing file, relative to the root.
        groups: for each item what must not be split.
        splits: for each item its published split (``train``, ``val`` or ``test``); empty: drawn by group.
    """

    spec: SubsetSpec
    items: Sequence[Item]
    images: Sequence[str]
    groups: Sequence[str]
    splits: Sequence[str] = ()

    def labels(self, chosen: Sequence[int]) -> dict[str, str]:
        """Image to label of the chosen items."""
        return {self.images[i]: self.items[i].label for i in chosen}


def assemble(
    subsets: Iterable[LoadedSubset],
    root: Path,
    held: Collection[str],
    *,
    max_per_subset: int = 3000,
    fraction: float = 1.0,
    extended: Extension = "context",
    seed: int = 0,
    shares: Mapping[str, float] = SHARES,
    notes: Counter[str] | None = None,
) -> Corpus:
    """Split subsets and write their records; see `medgraph.data.medmat.build_medmat` for the rules.

    Subsets are consumed one at a time and cut at once, so an iterator that reads them lazily needs little memory.

    Args:
        subsets: what was read, the held-out subsets first; keys are unique.
        root: folder of the images.
        held: keys of the subsets that go to ``ood`` as a whole, see `hold_out`.
        max_per_subset: cap on the training images of a subset; other splits are capped in proportion to ``shares``.
        fraction: share of the training images, within each subset.
        extended: kind of extended answers.
        seed: seed of splits and ranks.
        shares: of the groups by split. Without ``task``, the training images are that split as well.
        notes: facts already counted by the reader.
    """
    notes = Counter() if notes is None else notes
    reserved: set[str] = set()
    records: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for subset in subsets:
        if subset.spec.key in held:
            reserved.update(subset.groups)
            notes[f"held out for ood: {subset.spec.key} {subset.spec.triplet}, images"] = len(subset.items)
            chosen = {"ood": _test_set(subset, range(len(subset.items)), max_per_subset, seed, notes)}
        else:
            chosen = _split(subset, reserved, max_per_subset, fraction, seed, shares, notes)
        for name, items in chosen.items():
            records[name].extend(record for i in items for record in _records(subset, i, extended))
    _drop_copies(records, root, notes)
    if "task" not in shares:
        records["task"] = records["train"]
    every = tuple(record for split in records.values() for record in split)
    return Corpus(records, ImageFolder(root, every), {note: count for note, count in notes.items() if count})


def hold_out(
    triplets: Mapping[str, MATTriplet], chosen: Collection[str], sources: Mapping[str, frozenset[str]], seed: int
) -> set[str]:
    """Decide which subsets go to ``ood``.

    Args:
        triplets: subset to triplet.
        chosen: the user's choice; empty: `choose_ood` decides; ``none``: nothing.
        sources: subset to the sources of its images, where known.
        seed: seed of an automatic choice.

    Raises:
        ConfigError: if nothing is left for training, or a chosen combination would stay in training.
    """
    if set(chosen) == {"none"}:
        return set()
    held = set(chosen) or choose_ood(triplets, sources, seed)
    combinations = {triplets[key] for key in held}
    for key, triplet in triplets.items():
        if triplet in combinations and key not in held:
            raise ConfigError(f"data.ood_subsets: {key} has the held-out triplet {triplet} too; hold it out as well, "
                              "or leave it out of data.subsets")  # fmt: skip
    if len(held) == len(triplets):
        raise ConfigError("data.ood_subsets: every subset is held out; leave at least one for training")
    return held


def assemble_held_out(
    subsets: Sequence[LoadedSubset], root: Path, ood: Sequence[str] = (), seed: int = 0, **options: Any
) -> Corpus:
    """Hold out and assemble subsets that are in memory.

    Args:
        subsets: in any order.
        root: folder of the images.
        ood: keys of the subsets to hold out; empty: chosen automatically.
        seed: seed of every choice.
        options: further arguments of `assemble`.

    Raises:
        ConfigError: as `hold_out`.
    """
    held = hold_out({subset.spec.key: subset.spec.triplet for subset in subsets}, ood, {}, seed)
    ordered = sorted(subsets, key=lambda subset: subset.spec.key not in held)
    return assemble(ordered, root, held, seed=seed, **options)


def _split(
    subset: LoadedSubset,
    reserved: set[str],
    cap: int,
    fraction: float,
    seed: int,
    shares: Mapping[str, float],
    notes: Counter[str],
) -> dict[str, list[int]]:
    """Items of an in-distribution subset by split."""
    drawn: dict[str, list[int]] = {name: [] for name in SPLITS[:-1]}
    for i, group in enumerate(subset.groups):
        if group in reserved:
            notes["images left out because their group occurs in ood"] += 1
        else:
            drawn[_split_name(subset, i, seed, shares)].append(i)
    tested = {subset.groups[i] for i in drawn["test"]}
    chosen: dict[str, list[int]] = {}
    for name in (name for name in shares if name != "test"):
        apart = [i for i in drawn[name] if subset.groups[i] not in tested]
        notes["images left out because their group occurs in the published test split"] += len(drawn[name]) - len(apart)
        labels = subset.labels(apart)
        capped = take_balanced(labels, round(cap * shares[name] / shares["train"]), seed)
        notes[f"{name} images over the cap of data.max_per_subset"] += len(labels) - len(capped)
        chosen[name] = [i for i in apart if subset.images[i] in capped]
    known = {subset.items[i].label for i in chosen["train"]}
    if chosen["train"]:
        images = {subset.images[i] for i in chosen["train"]}
        kept = take_fraction(images, fraction)
        notes["training images left out by data.fraction"] += len(images) - len(kept)
        chosen["train"] = [i for i in chosen["train"] if subset.images[i] in kept]
    answerable = [i for i in drawn["test"] if subset.items[i].label in known]
    notes["test images left out because no training image has their label"] += len(drawn["test"]) - len(answerable)
    cap_test = round(cap * shares["test"] / shares["train"])
    return {**chosen, "test": _test_set(subset, answerable, cap_test, seed, notes)}


def _split_name(subset: LoadedSubset, i: int, seed: int, shares: Mapping[str, float]) -> str:
    """Split of an item: the published one, of whose training images some are held back, or drawn by its group."""
    if not subset.splits:
        return split_of(subset.groups[i], seed, shares)
    if subset.splits[i] != "train":
        return subset.splits[i]
    drawn = split_of(subset.groups[i], seed, {name: HELD_BACK[name] for name in shares if name in HELD_BACK})
    return "train" if drawn == "val" and "val" in subset.splits else drawn


def _test_set(subset: LoadedSubset, items: Sequence[int], cap: int, seed: int, notes: Counter[str]) -> list[int]:
    """Equally many images of every label, or up to ``cap`` of all where balance would cost more than half of them."""
    labels = subset.labels(items)
    limit = max(1, cap // max(1, len(set(labels.values()))))
    kept = take_strictly_balanced(labels, seed, limit)
    if 2 * len(kept) < min(len(labels), cap):
        kept = take_balanced(labels, cap, seed)
        notes[f"{subset.spec.key}: label balance would cost most test images, so labels are unequal; images"] = len(
            kept
        )
    notes["test images left out to balance the labels or over the cap"] += len(labels) - len(kept)
    return [i for i in items if subset.images[i] in kept]


def _drop_copies(records: Mapping[str, list[Record]], root: Path, notes: Counter[str]) -> None:
    """Keep files with equal content in one split only: the last of `SPLITS` that has one."""
    split_of_image = {record.image: name for name in SPLITS for record in records[name]}
    dropped: set[str] = set()
    for copies in equal_files(split_of_image, root):
        last = max((split_of_image[image] for image in copies), key=SPLITS.index)
        dropped |= {image for image in copies if split_of_image[image] != last}
    notes["images left out because a later split has a file with equal content"] += len(dropped)
    if dropped:
        for split in records.values():
            split[:] = [record for record in split if record.image not in dropped]


def _records(subset: LoadedSubset, i: int, extended: Extension) -> Iterator[Record]:
    """The choice question and the open question about one image."""
    item, spec = subset.items[i], subset.spec
    for kind, options in (("choice", item.options), ("open", ())):
        record_id = f"{spec.key}/{item.id}/{kind}"
        yield Record(
            id=record_id,
            image_id=subset.images[i],
            image=subset.images[i],
            question=item.question,
            answer=item.label,
            extended=extend_answer(item.label, spec.triplet, extended, record_id, () if spec.multilabel else options),
            answer_type="choice" if kind == "choice" else "open",
            question_type=spec.triplet.task,
            triplet=spec.triplet,
            label=item.label,
            subset=spec.key,
            group=subset.groups[i],
            options=options,
        )
