"""Med-MAT: from a released folder to a corpus of splits (arXiv:2412.20070, section 2.1).

Files are read one subset at a time and cut to what the splits need before records are made, so that memory follows the
size of the corpus and not of the release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medgraph.config import ConfigError, MedMATConfig
from medgraph.data.assemble import LoadedSubset, assemble
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import ImageFacts, Item, find_subset_files, read_groups, read_subset
from medgraph.data.paths import PathIndex, refused
from medgraph.data.records import Corpus, MATTriplet
from medgraph.data.registry import Registry, SubsetSpec, builtin, from_yaml
from medgraph.data.vocabulary import AREAS, MODALITIES, task_category


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
    numbers = {subset.spec.no: subset.spec.key for subset in subsets}
    held = [subset_number(text, "data.ood_subsets") for text in config.ood_subsets]
    if missing := [number for number in held if number not in numbers]:
        known = ", ".join(map(str, numbers))
        raise ConfigError(f"data.ood_subsets: subset {missing[0]} is not among those read: {known}")
    return assemble(
        subsets,
        root,
        ood=[numbers[number] for number in held],
        max_per_subset=config.max_per_subset,
        fraction=config.fraction,
        extended=config.extended,
        seed=config.seed,
        notes=notes,
    )


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
    wanted = [subset_number(text, key) for text in numbers] or list(files)
    if missing := [number for number in wanted if number not in files]:
        raise ConfigError(f"{key}: there is no file of subset {missing[0]}; there are {', '.join(map(str, files))}")
    return {number: files[number] for number in wanted}


def subset_number(text: str, key: str) -> int:
    """Read ``3``, ``"03"`` or ``"subset-03"``.

    Raises:
        ConfigError: for anything else, naming the configuration key.
    """
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
