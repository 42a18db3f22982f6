"""Med-MAT: from a released folder to a corpus of splits (arXiv:2412.20070, section 2.1).

Files are read one subset at a time and cut to what the splits need before records are made, so that memory follows the
size of the corpus and not of the release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medgraph.config import ConfigError, MedMATConfig
from medgraph.data.errors import DataError
from medgraph.data.extend import extend_answer
from medgraph.data.images import ImageFolder
from medgraph.data.medmat_files import ImageFacts, Item, find_subset_files, read_groups, read_subset
from medgraph.data.paths import PathIndex, refused
from medgraph.data.records import Corpus, MATTriplet, Record, take_fraction
from medgraph.data.registry import Registry, SubsetSpec, builtin, from_yaml
from medgraph.data.splits import choose_ood, split_of, take_balanced, take_strictly_balanced
from medgraph.data.vocabulary import AREAS, MODALITIES, task_category

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
    """

    spec: SubsetSpec
    items: Sequence[Item]
    images: Sequence[str]
    groups: Sequence[str]
    sources: frozenset[str]

    def labels(self, chosen: Sequence[int]) -> dict[str, str]:
        """Image to label of the chosen items."""
        return {self.images[i]: self.items[i].label for i in chosen}


def build_medmat(config: MedMATConfig) -> Corpus:
    """Read a Med-MAT release and split it.

    Groups are drawn into train, task, val and test by a hash (`medgraph.data.splits`). Training images are capped at
    ``max_per_subset`` with balanced labels and then cut to ``fraction`` within each subset; test sets have equally many
    images of every label where that keeps at least half of them. Held-out subsets go to ``ood`` as a whole, and images
    of a group that occurs there leave training.

    Args:
        config: folder, selection and sizes.

    Returns:
        Two records an image: the released choice question and the open question, whose answer is the label.

    Raises:
        DataError: for anything in the files that is not right, naming file, record and field.
        ConfigError: for subset numbers that are not there.
    """
    root = Path(config.root)
    notes: Counter[str] = Counter()
    subsets = list(load_subsets(root, config.subsets, notes))
    held = _held_out(subsets, config, notes)
    reserved = {group for subset in subsets if subset.spec.key in held for group in subset.groups}
    records: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for subset in subsets:
        if subset.spec.key in held:
            chosen: dict[str, list[int]] = {"ood": _test_set(subset, range(len(subset.items)), config.seed, notes)}
        else:
            chosen = _split(subset, reserved, config, notes)
        for name, items in chosen.items():
            records[name].extend(record for i in items for record in _records(subset, i, config))
    every = tuple(record for split in records.values() for record in split)
    return Corpus(records, ImageFolder(root, every), {note: count for note, count in notes.items() if count})


def load_subsets(root: Path, numbers: Sequence[str], notes: Counter[str]) -> Iterator[LoadedSubset]:
    """Read the question files of a release and find their images.

    Args:
        root: the data root. ``subsets.yaml`` there extends the registry, ``groups.csv`` gives groups and triplets.
        numbers: subsets to read; empty: all.
        notes: counts what had to be corrected.

    Raises:
        DataError: for records that are wrong and images that are missing.
        ConfigError: for subset numbers that are not there.
    """
    files = select(find_subset_files(root), numbers, "data.subsets")
    facts = read_groups(root / "groups.csv")
    registry = from_yaml(root / "subsets.yaml") if (root / "subsets.yaml").is_file() else builtin()
    index = PathIndex(root)
    for number, path in files.items():
        items = read_subset(path)
        images = _find_images(items, index, path, notes)
        _check_labels(items, images, path)
        known = [facts.get((item.image, number), ImageFacts()) for item in items]
        yield LoadedSubset(
            spec=registry[number] if number in registry else describe(number, known, registry, path),
            items=items,
            images=images,
            groups=[fact.group or image for fact, image in zip(known, images, strict=True)],
            sources=frozenset(fact.source for fact in known if fact.source),
        )


def select(files: Mapping[int, Path], numbers: Sequence[str], key: str) -> dict[int, Path]:
    """Files of the wanted subset numbers; all if none is wanted in particular.

    Raises:
        ConfigError: for a number that is not there, naming the configuration key.
    """
    wanted = [_number(text, key) for text in numbers] or list(files)
    if missing := [number for number in wanted if number not in files]:
        raise ConfigError(f"{key}: there is no file of subset {missing[0]}; there are {', '.join(map(str, files))}")
    return {number: files[number] for number in wanted}


def _number(text: str, key: str) -> int:
    digits = str(text).strip().lower().removeprefix("subset-")
    if not digits.isdigit():
        raise ConfigError(f"{key}: {text!r} is not a subset number; write numbers such as 3 or 28")
    return int(digits)


def describe(number: int, facts: Sequence[ImageFacts], registry: Registry, path: Path) -> SubsetSpec:
    """Registry entry of a subset that the registry does not know, from the columns of ``groups.csv``.

    Raises:
        DataError: if a column is missing or differs between the images, or the task names no category.
    """
    triplets = {(fact.modality, fact.area, fact.task) for fact in facts}
    fix = f"write modality, area and task of all its images into groups.csv, or subset {number} into subsets.yaml"
    if len(triplets) != 1 or not all(next(iter(triplets))):
        raise DataError.at("unknown_subset", path, found=sorted(triplets)[:3],
                           expected=f"one triplet for subset {number}, which the registry does not know "
                                    f"({len(registry)} subsets)", fix=fix)  # fmt: skip
    modality, area, task = triplets.pop()
    try:
        category = task_category(task)
    except ValueError as error:
        raise DataError.at("unknown_task", path.parent.parent / "groups.csv", field="task", found=task,
                           expected="a task category", fix=str(error)) from error  # fmt: skip
    return SubsetSpec(number, MATTriplet(MODALITIES.adopt(modality), AREAS.adopt(area), category), name=task)


def _find_images(items: Sequence[Item], index: PathIndex, path: Path, notes: Counter[str]) -> list[str]:
    images, missing = [], []
    for item in items:
        try:
            image = index.find(item.image)
        except ValueError as error:
            raise refused(item.image, error, path, item.id) from error
        if image is None:
            missing.append(item)
            continue
        notes["image paths corrected"] += image != item.image
        images.append(image)
    if missing:
        raise DataError.at("image_missing", path, record=missing[0].id, field="image", found=missing[0].image,
                           expected=f"an existing file below {index.root}",
                           fix=f"restore the {len(missing)} missing images of this file; "
                               f"`medgraph data check {index.root}` lists them")  # fmt: skip
    return images


def _check_labels(items: Sequence[Item], images: Sequence[str], path: Path) -> None:
    labels: dict[str, Item] = {}
    for item, image in zip(items, images, strict=True):
        first = labels.setdefault(image, item)
        if first.label != item.label:
            raise DataError.at("label_conflict", path, record=item.id, field="caption", found=item.label,
                               expected=f"{first.label!r}, the label of record {first.id} with the same image {image}",
                               fix="correct one of the two")  # fmt: skip


def _held_out(subsets: Sequence[LoadedSubset], config: MedMATConfig, notes: Counter[str]) -> set[str]:
    specs = {subset.spec.no: subset.spec for subset in subsets}
    if config.ood_subsets:
        wanted = [_number(text, "data.ood_subsets") for text in config.ood_subsets]
        if missing := [number for number in wanted if number not in specs]:
            raise ConfigError(f"data.ood_subsets: subset {missing[0]} is not among those read: "
                              f"{', '.join(map(str, specs))}")  # fmt: skip
        held = {specs[number].key for number in wanted}
        combinations = {specs[number].triplet for number in wanted}
        for spec in specs.values():
            if spec.triplet in combinations and spec.key not in held:
                raise ConfigError(f"data.ood_subsets: {spec.key} has the held-out triplet {spec.triplet} too; hold it "
                                  "out as well, or leave it out of data.subsets")  # fmt: skip
    else:
        triplets = {subset.spec.key: subset.spec.triplet for subset in subsets}
        held = choose_ood(triplets, {subset.spec.key: subset.sources for subset in subsets}, config.seed)
    if len(held) == len(specs):
        raise ConfigError("data.ood_subsets: every subset is held out; leave at least one for training")
    how = "chosen by you" if config.ood_subsets else "chosen automatically"
    for subset in subsets:
        if subset.spec.key in held:
            notes[f"held out for ood, {how}: {subset.spec.key} {subset.spec.triplet}, images"] = len(subset.items)
    if not held:
        notes["subsets, none of which can be held out so that its elements still occur in training"] = len(specs)
    return held


def _split(subset: LoadedSubset, reserved: set[str], config: MedMATConfig, notes: Counter[str]) -> dict[str, list[int]]:
    """Items of an in-distribution subset by split."""
    chosen: dict[str, list[int]] = {name: [] for name in SPLITS[:-1]}
    for i, group in enumerate(subset.groups):
        if group in reserved:
            notes["images left out because their group occurs in ood"] += 1
        else:
            chosen[split_of(group, config.seed)].append(i)
    available = subset.labels(chosen["train"])
    capped = take_balanced(available, config.max_per_subset, config.seed)
    notes["training images over data.max_per_subset"] += len(available) - len(capped)
    kept = take_fraction(capped, config.fraction) if capped else set()
    notes["training images left out by data.fraction"] += len(capped) - len(kept)
    known = set(available.values())
    answerable = [i for i in chosen["test"] if subset.items[i].label in known]
    notes["test images left out because no training image has their label"] += len(chosen["test"]) - len(answerable)
    return {
        **chosen,
        "train": [i for i in chosen["train"] if subset.images[i] in kept],
        "test": _test_set(subset, answerable, config.seed, notes),
    }


def _test_set(subset: LoadedSubset, items: Sequence[int], seed: int, notes: Counter[str]) -> list[int]:
    labels = subset.labels(items)
    balanced = take_strictly_balanced(labels, seed)
    if 2 * len(balanced) < len(labels):
        notes[f"{subset.spec.key}: label balance would cost most test images, all kept"] = len(labels)
        return list(items)
    notes["test images left out to balance the labels"] += len(labels) - len(balanced)
    return [i for i in items if subset.images[i] in balanced]


def _records(subset: LoadedSubset, i: int, config: MedMATConfig) -> Iterator[Record]:
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
            extended=extend_answer(
                item.label, spec.triplet, config.extended, record_id, () if spec.multilabel else options
            ),
            answer_type="choice" if kind == "choice" else "open",
            question_type=spec.triplet.task,
            triplet=spec.triplet,
            label=item.label,
            subset=spec.key,
            group=subset.groups[i],
            options=options,
        )
