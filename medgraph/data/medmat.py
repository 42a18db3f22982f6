"""Med-MAT: from a released folder to a corpus of splits (arXiv:2412.20070, section 2.1).

Files are read one subset at a time and cut to what the splits need before records are made, so that memory follows the
size of the corpus and not of the release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from medgraph.config import ConfigError, MedMATConfig
from medgraph.data.assemble import LoadedSubset, assemble, hold_out
from medgraph.data.convert import NAMED, NEUTRAL, QuestionConverter
from medgraph.data.errors import DataError
from medgraph.data.medmat_files import ImageFacts, Item, find_subset_files, read_groups, scan_subset
from medgraph.data.paths import PathIndex, refused
from medgraph.data.policy import MAX_QUARANTINED, Policy
from medgraph.data.records import Corpus, MATTriplet
from medgraph.data.registry import Registry, SubsetSpec, builtin, from_yaml
from medgraph.data.splits import PAPER_SHARES, SHARES
from medgraph.data.vocabulary import AREAS, MODALITIES, task_category

QuestionSource = Literal["released", "rebuilt", "neutral"]


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
    files = find_subsets(root, config.subsets)
    if config.only_open:
        files = [file for file in files if file.spec.no in builtin().open_part() or not file.spec.datasets]
        if not files:
            raise ConfigError("data.only_open: every data set behind the chosen subsets needs an account; "
                              "`medgraph data list --only-open` shows those that do not")  # fmt: skip
    keys = {file.spec.no: file.spec.key for file in files}
    ood = config.ood_subsets
    wanted = [] if ood == ["none"] else [subset_number(text, "data.ood_subsets") for text in ood]
    if missing := [number for number in wanted if number not in keys]:
        known = ", ".join(map(str, keys))
        raise ConfigError(f"data.ood_subsets: subset {missing[0]} is not among those read: {known}")
    triplets = {file.spec.key: file.spec.triplet for file in files}
    sources = {file.spec.key: file.sources for file in files}
    held = hold_out(triplets, [keys[number] for number in wanted] or ood, sources, config.seed)
    notes: Counter[str] = Counter()
    if not held and not ood:
        notes["subsets, none of which can be held out so that its elements still occur in training"] = len(files)
    files.sort(key=lambda file: file.spec.key not in held)
    index, policy = PathIndex(root), Policy.of(config, notes)
    return assemble(
        (load(file, index, policy, config.questions, config.seed, config.only_open) for file in files),
        root,
        held,
        max_per_subset=config.max_per_subset,
        fraction=config.fraction,
        extended=config.extended,
        seed=config.seed,
        shares=PAPER_SHARES if config.split == "paper" else SHARES,
        notes=notes,
    )


@dataclass(frozen=True, slots=True)
class SubsetFile:
    """A question file and what is known about its images before it is read.

    Attributes:
        path: the file.
        spec: the subset.
        facts: image path as written to its line in ``groups.csv``.
    """

    path: Path
    spec: SubsetSpec
    facts: Mapping[str, ImageFacts]

    @property
    def sources(self) -> frozenset[str]:
        """Where the images come from, as far as ``groups.csv`` says."""
        return frozenset(fact.source for fact in self.facts.values() if fact.source)


def find_subsets(root: Path, numbers: Sequence[str] = ()) -> list[SubsetFile]:
    """Find the question files of a release and the subsets they belong to, by number.

    Args:
        root: the data root. ``subsets.yaml`` there extends the registry, ``groups.csv`` gives groups and triplets.
        numbers: subsets wanted; empty: all.

    Raises:
        DataError: for a subset that neither the registry nor these files describe.
        ConfigError: for subset numbers that are not there.
    """
    paths = select(find_subset_files(root), numbers, "data.subsets")
    facts = read_groups(root / "groups.csv")
    registry = from_yaml(root / "subsets.yaml") if (root / "subsets.yaml").is_file() else builtin()
    return [
        SubsetFile(path, registry[number] if number in registry else describe(number, known, registry, path), known)
        for number, path in paths.items()
        for known in [facts.get(number, {})]
    ]


def load(
    file: SubsetFile,
    index: PathIndex,
    policy: Policy,
    questions: QuestionSource = "released",
    seed: int = 0,
    only_open: bool = False,
) -> LoadedSubset:
    """Read a question file and find its images.

    Args:
        file: what to read.
        index: finds images below the data root.
        policy: what to do about records and images that cannot be used.
        questions: the released questions, or rebuilt ones.
        seed: seed of rebuilt questions.
        only_open: leave out records whose data set needs an account.

    Raises:
        DataError: in ``error`` mode for records that are wrong and images that are missing; in any mode if more than
            `MAX_QUARANTINED` of the records would be left out.
    """
    items: dict[int, tuple[Item, str]] = {}
    labels: dict[str, Item] = {}
    missing, total, closed = [], 0, 0
    for total, found in enumerate(scan_subset(file.path), start=1):
        if isinstance(found, DataError):
            policy.reject(found)
            continue
        if only_open and not _is_open(found, file.spec):
            closed += 1
            continue
        try:
            image = index.find(found.image)
        except ValueError as error:
            policy.reject(refused(found.image, error, file.path, found.id))
            continue
        if image is None:
            missing.append(found)
        elif image in policy.images:
            policy.notes["quarantined: image listed as unreadable"] += 1
        elif labels.setdefault(image, found).label != found.label:
            policy.reject(_conflict(found, labels[image], file.path))
        else:
            policy.notes["image paths corrected"] += image != found.image
            items[total] = found, image
    for item in missing:
        policy.reject(_missing(item, len(missing), index.root, file.path))
    policy.notes["images left out because their data set needs an account"] += closed
    total -= closed
    if len(items) < (1 - MAX_QUARANTINED) * total:
        raise DataError.at("too_many_quarantined", file.path, found=f"{total - len(items)} of {total} records unusable",
                           expected=f"at most {MAX_QUARANTINED:.0%}",
                           fix=f"`medgraph data check {index.root}` lists them")  # fmt: skip
    kept = [item for item, _ in items.values()]
    images = [image for _, image in items.values()]
    groups = [
        file.facts[item.image].group or image if item.image in file.facts else image
        for item, image in zip(kept, images, strict=True)
    ]
    if questions != "released":
        kept = _rebuild(kept, file.spec, NAMED if questions == "rebuilt" else NEUTRAL, seed)
    return LoadedSubset(file.spec, kept, images, groups)


def _is_open(item: Item, spec: SubsetSpec) -> bool:
    """True if the record's data set can be downloaded without an account; all of the subset's, if it names none."""
    numbers = (item.dataset,) if item.dataset in spec.datasets else spec.datasets
    return all(builtin().datasets[number].access == "open" for number in numbers if number is not None)


def _rebuild(items: Sequence[Item], spec: SubsetSpec, templates: Sequence[str], seed: int) -> list[Item]:
    labels = sorted({item.label for item in items})
    convert = QuestionConverter(labels, spec.triplet, templates=templates, multilabel=spec.multilabel, seed=seed)
    choices = convert.balanced({item.id: item.label for item in items})
    return [replace(item, question=choices[item.id].question, options=choices[item.id].options) for item in items]


def _missing(item: Item, count: int, root: Path, path: Path) -> DataError:
    return DataError.at("image_missing", path, record=item.id, field="image", found=item.image,
                        expected=f"an existing file below {root}",
                        fix=f"restore the {count} missing images of this file; "
                            f"`medgraph data check {root}` lists them")  # fmt: skip


def _conflict(item: Item, first: Item, path: Path) -> DataError:
    return DataError.at("label_conflict", path, record=item.id, field="caption", found=item.label,
                        expected=f"{first.label!r}, the label of record {first.id} with the same image {first.image}",
                        fix="correct one of the two")  # fmt: skip


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


def describe(number: int, facts: Mapping[str, ImageFacts], registry: Registry, path: Path) -> SubsetSpec:
    """Registry entry of a subset that the registry does not know, from the columns of ``groups.csv``.

    Raises:
        DataError: if a column is missing or differs between the images, or the task names no category.
    """
    triplets = {(fact.modality, fact.area, fact.task) for fact in facts.values()}
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
