"""From subsets of labelled images to a corpus: hold out, split, cap, balance, and write two records an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraph.config import ConfigError
from medgraph.data.extend import Extension, extend_answer
from medgraph.data.images import ImageFolder
from medgraph.data.medmat_files import Item
from medgraph.data.records import Corpus, Record, take_fraction
from medgraph.data.registry import SubsetSpec
from medgraph.data.splits import HELD_BACK, choose_ood, split_of, take_balanced, take_strictly_balanced

SPLITS = ("train", "task", "val", "test", "ood")


@dataclass(frozen=True, slots=True)
class LoadedSubset:
    """One subset as it lies on disk.

    Attributes:
        spec: its registry entry.
        items: its released records.
        images: for each item the existing file, relative to the root.
        groups: for each item what must not be split.
        sources: where the images come from, as far as ``groups.csv`` says.
        splits: for each item its published split (``train``, ``val`` or ``test``); empty: drawn by group.
    """

    spec: SubsetSpec
    items: Sequence[Item]
    images: Sequence[str]
    groups: Sequence[str]
    sources: frozenset[str] = frozenset()
    splits: Sequence[str] = ()

    def labels(self, chosen: Sequence[int]) -> dict[str, str]:
        """Image to label of the chosen items."""
        return {self.images[i]: self.items[i].label for i in chosen}


def assemble(
    subsets: Sequence[LoadedSubset],
    root: Path,
    *,
    ood: Sequence[str] = (),
    max_per_subset: int = 3000,
    fraction: float = 1.0,
    extended: Extension = "context",
    seed: int = 0,
    notes: Counter[str] | None = None,
) -> Corpus:
    """Split subsets and write their records; see `medgraph.data.medmat.build_medmat` for the rules.

    Args:
        subsets: what was read; keys are unique.
        root: folder of the images.
        ood: keys of the subsets to hold out; empty: chosen by `choose_ood`.
        max_per_subset: cap on the training images of a subset.
        fraction: share of the training images, within each subset.
        extended: kind of extended answers.
        seed: seed of splits and ranks.
        notes: facts already counted by the reader.

    Raises:
        ConfigError: if nothing is left for training, or a held-out combination stays in training.
    """
    notes = Counter() if notes is None else notes
    held = _held_out(subsets, ood, seed, notes)
    reserved = {group for subset in subsets if subset.spec.key in held for group in subset.groups}
    records: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for subset in subsets:
        if subset.spec.key in held:
            chosen = {"ood": _test_set(subset, range(len(subset.items)), seed, notes)}
        else:
            chosen = _split(subset, reserved, max_per_subset, fraction, seed, notes)
        for name, items in chosen.items():
            records[name].extend(record for i in items for record in _records(subset, i, extended))
    every = tuple(record for split in records.values() for record in split)
    return Corpus(records, ImageFolder(root, every), {note: count for note, count in notes.items() if count})


def _held_out(subsets: Sequence[LoadedSubset], ood: Sequence[str], seed: int, notes: Counter[str]) -> set[str]:
    triplets = {subset.spec.key: subset.spec.triplet for subset in subsets}
    held = set(ood) or choose_ood(triplets, {subset.spec.key: subset.sources for subset in subsets}, seed)
    combinations = {triplets[key] for key in held}
    for key, triplet in triplets.items():
        if triplet in combinations and key not in held:
            raise ConfigError(f"data.ood_subsets: {key} has the held-out triplet {triplet} too; hold it out as well, "
                              "or leave it out of data.subsets")  # fmt: skip
    if len(held) == len(triplets):
        raise ConfigError("data.ood_subsets: every subset is held out; leave at least one for training")
    how = "chosen by you" if ood else "chosen automatically"
    for subset in subsets:
        if subset.spec.key in held:
            notes[f"held out for ood, {how}: {subset.spec.key} {subset.spec.triplet}, images"] = len(subset.items)
    if not held:
        notes["subsets, none of which can be held out so that its elements still occur in training"] = len(triplets)
    return held


def _split(
    subset: LoadedSubset, reserved: set[str], cap: int, fraction: float, seed: int, notes: Counter[str]
) -> dict[str, list[int]]:
    """Items of an in-distribution subset by split."""
    chosen: dict[str, list[int]] = {name: [] for name in SPLITS[:-1]}
    for i, group in enumerate(subset.groups):
        if group in reserved:
            notes["images left out because their group occurs in ood"] += 1
        else:
            chosen[_split_name(subset, i, seed)].append(i)
    tested = {subset.groups[i] for i in chosen["test"]}
    for name in ("train", "task", "val"):
        kept_apart = [i for i in chosen[name] if subset.groups[i] not in tested]
        notes["images left out because their group occurs in the published test split"] += len(chosen[name]) - len(
            kept_apart
        )
        chosen[name] = kept_apart
    available = subset.labels(chosen["train"])
    capped = take_balanced(available, cap, seed)
    notes["training images over data.max_per_subset"] += len(available) - len(capped)
    kept = take_fraction(capped, fraction) if capped else set()
    notes["training images left out by data.fraction"] += len(capped) - len(kept)
    known = set(available.values())
    answerable = [i for i in chosen["test"] if subset.items[i].label in known]
    notes["test images left out because no training image has their label"] += len(chosen["test"]) - len(answerable)
    return {
        **chosen,
        "train": [i for i in chosen["train"] if subset.images[i] in kept],
        "test": _test_set(subset, answerable, seed, notes),
    }


def _split_name(subset: LoadedSubset, i: int, seed: int) -> str:
    """Split of an item: the published one, of whose training images some are held back, or drawn by its group."""
    if not subset.splits:
        return split_of(subset.groups[i], seed)
    if subset.splits[i] != "train":
        return subset.splits[i]
    drawn = split_of(subset.groups[i], seed, HELD_BACK)
    return "train" if drawn == "val" and "val" in subset.splits else drawn


def _test_set(subset: LoadedSubset, items: Sequence[int], seed: int, notes: Counter[str]) -> list[int]:
    labels = subset.labels(items)
    balanced = take_strictly_balanced(labels, seed)
    if 2 * len(balanced) < len(labels):
        notes[f"{subset.spec.key}: label balance would cost most test images, all kept"] = len(labels)
        return list(items)
    notes["test images left out to balance the labels"] += len(labels) - len(balanced)
    return [i for i in items if subset.images[i] in balanced]


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
