"""Exact numbers of images of chosen subsets train, another subset is tested: the data of one compositional experiment.

A pool holds the subsets of a source, whatever their role there. Half of the target's groups (patients, images) are its
test set, the same for every experiment on that target; they never train, not even in another subset.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from medgraph.config import ConfigError, DataConfig, MixtureConfig, SubsetsConfig
from medgraph.config.mixture import nested_source
from medgraph.data import build_corpus
from medgraph.data.images import KeptImages
from medgraph.data.plan import draw
from medgraph.data.records import Corpus, Image, MATTriplet, Record
from medgraph.data.registry import Registry, SubsetSpec, builtin, from_yaml
from medgraph.data.splits import position, take_balanced, take_strictly_balanced

TARGET_TEST = 0.5
"""Share of a target's groups that are its test set."""
PHANTOM_TASKS = ("finding", "side", "level", "size", "severity")
"""Questions about abnormal phantoms that make their tasks: what does not follow from modality and area."""
WHOLE: dict[str, dict[str, Any]] = {
    "phantom": {"num_task": 0, "num_test": 0, "num_ood": 0, "holdout": 0.0},
    "medmat": {"ood_subsets": ["none"]},
    "folder": {"ood_subsets": ["none"]},
}
"""Options that keep a source from holding anything out."""


@dataclass(frozen=True, eq=False)
class Pool:
    """All subsets of a source.

    Attributes:
        registry: the subsets that are there.
        records: by subset key, every record of its images.
        validation: ids of the images that only validate.
        load_image: as in `Corpus`.
        notes: what the reader counted.
        seed: of the target's test sets.
    """

    registry: Registry
    records: Mapping[str, Sequence[Record]]
    validation: frozenset[str]
    load_image: Callable[[str, int], Image]
    notes: Mapping[str, int]
    seed: int

    def test_set(self, target: str) -> list[Record]:
        """Test questions of a target: as many images of every label, where that keeps half of them.

        Choice questions only, where there are any, as in Med-MAT (arXiv:2412.20070).
        """
        tested = self._test_groups(target)
        records = [record for record in self.records[target] if record.group in tested]
        labels = {record.image_id: record.label for record in records}
        kept = take_strictly_balanced(labels, self.seed, len(labels))
        if 2 * len(kept) < len(labels):
            kept = take_balanced(labels, len(labels), self.seed)
        choice = any(record.options for record in records)
        return [record for record in records if record.image_id in kept and bool(record.options) == choice]

    def training(self, subset: str, target: str) -> list[Record]:
        """Records of a subset that may train where another (or the same) subset is the target."""
        tested = self._test_groups(target)
        return [record for record in self.records[subset]
                if record.group not in tested and record.image_id not in self.validation]  # fmt: skip

    def validating(self, subset: str, target: str) -> list[Record]:
        """Records of a subset that validate; none of the target's, which never selects a model."""
        if subset == target:
            return []
        tested = self._test_groups(target)
        return [record for record in self.records[subset]
                if record.group not in tested and record.image_id in self.validation]  # fmt: skip

    def capacity(self, subset: str, target: str) -> int:
        """Images of a subset that may train."""
        return len({record.image_id for record in self.training(subset, target)})

    def texts(self) -> tuple[str, ...]:
        """Every question with its options, and every answer, once: the same for all experiments on the pool."""
        records = [record for found in self.records.values() for record in found]
        return tuple(dict.fromkeys(text for r in records for text in (r.question, *r.options, r.answer, r.extended)))

    @cache  # noqa: B019  # a pool lives as long as its process
    def _test_groups(self, target: str) -> frozenset[str]:
        groups = {record.group for record in self.records[target]}
        return frozenset(group for group in groups if position(self.seed, "target", group) < TARGET_TEST)


def read_pool(sources: Sequence[Mapping[str, Any]], outer: DataConfig | None = None) -> Pool:
    """Read all subsets of some sources, none of them held out.

    Phantoms have no tasks of their own: a question about the kind of an abnormal finding, its side, level, size or
    severity makes one.

    Args:
        sources: of each its ``name`` and options.
        outer: configuration whose seed and kind of extended answers are the default.

    Raises:
        ConfigError: for a mistake in the sources, or fewer than two subsets.
        DataError: for data that is missing or malformed.
    """
    outer = outer or DataConfig()
    whole = [{**source, **WHOLE.get(str(source.get("name")), {})} for source in sources]
    if len(whole) == 1:
        config = nested_source(whole[0], "data.sources[0]", outer)
    else:
        config = MixtureConfig(seed=outer.seed, extended=outer.extended, sources=whole)
    corpus = build_corpus(config)
    base = builtin()
    for source in whole:
        file = Path(source.get("root", "")) / "subsets.yaml"
        base = from_yaml(file, base) if source["name"] == "medmat" and file.is_file() else base
    validation = frozenset(record.image_id for record in corpus.splits["val"])
    records: dict[str, dict[str, Record]] = {}
    for record in (record for split in corpus.splits.values() for record in split):
        made = _by_task(record) if record.image_id.rpartition("/")[2].startswith("phantom-") else record
        if made is not None:  # a source without a task set of its own lists its training records twice
            records.setdefault(made.subset, {})[made.id] = made
    if len(records) < 2:
        raise ConfigError(f"data.sources: {len(records)} subset(s) in all; an experiment needs two or more")
    by_subset = {key: _with_allowed(found.values()) for key, found in sorted(records.items())}
    return Pool(_registry(by_subset, base), by_subset, validation, corpus.load_image, corpus.notes, outer.seed)


def build_subsets(config: SubsetsConfig) -> Corpus:
    """Draw the training images of one experiment; the target's test set is the split ``ood``.

    Raises:
        ConfigError: for an unknown subset, a malformed entry, or more images than a subset has.
        DataError: for data that is missing or malformed.
    """
    if config.fraction != 1:
        raise ConfigError(f"data.fraction={config.fraction}: data.train says how many images train; set it to 1")
    pool = _pool_of(json.dumps(config.sources, default=str), config.extended)
    if config.target not in pool.records:
        raise ConfigError(f"data.target={config.target}: no such subset; there are {', '.join(pool.records)}")
    counts = read_counts(config.train, pool.records)
    train: list[Record] = []
    for subset, count in counts.items():
        candidates = pool.training(subset, config.target)
        try:
            train += draw(candidates, {subset: count}, config.seed).select(candidates)
        except ValueError as error:
            raise ConfigError(f"data.train: {error}") from error
    if config.labels == "shuffled":
        train = shuffle_images(train, config.seed)
    validation = [record for subset in counts for record in pool.validating(subset, config.target)]
    test = pool.test_set(config.target)
    if not test:
        raise ConfigError(f"data.target={config.target}: no image is left for its test set; choose another target")
    notes = {**pool.notes, **{f"training images of {subset}": count for subset, count in counts.items()}}
    splits = {"train": train, "task": (), "val": validation, "test": (), "ood": test}
    return Corpus(splits, pool.load_image, notes, vocabulary=pool.texts())


@lru_cache(maxsize=1)
def _pool_of(sources: str, extended: Literal["paraphrase", "context"]) -> Pool:
    """The pool of sources in JSON; a process that makes several runs reads it, and decodes its images, once."""
    pool = read_pool(json.loads(sources), DataConfig(extended=extended))
    return replace(pool, load_image=KeptImages(pool.load_image))


def read_counts(entries: Sequence[str], known: Iterable[str]) -> dict[str, int]:
    """Read ``subset:images`` entries.

    Raises:
        ConfigError: naming the entry.
    """
    counts: dict[str, int] = {}
    for entry in entries:
        subset, _, count = entry.rpartition(":")
        if subset not in known or not count.isdecimal() or int(count) < 1 or subset in counts:
            raise ConfigError(f"data.train={entry}: expected subset:images, each subset once, out of "
                              f"{', '.join(known)}")  # fmt: skip
        counts[subset] = int(count)
    return counts


def shuffle_images(records: Sequence[Record], seed: int) -> list[Record]:
    """Give every image's questions and answers to another image of its subset: the same texts, nothing to learn."""
    images: dict[str, dict[str, Record]] = {}
    for record in records:
        images.setdefault(record.subset, {}).setdefault(record.image_id, record)
    moved: dict[tuple[str, str], Record] = {}
    for subset, found in images.items():
        others = list(found.values())
        random.Random(f"{seed} {subset}").shuffle(others)
        moved |= {(subset, image): other for image, other in zip(found, others, strict=True)}
    return [
        replace(record, image=other.image, image_id=other.image_id, group=other.group)
        for record in records
        for other in [moved[record.subset, record.image_id]]
    ]


def _by_task(record: Record) -> Record | None:
    """A phantom's question as a record of the subset (modality, area, question type); None where it makes no task."""
    if record.question_type not in PHANTOM_TASKS or record.label == "normal":
        return None
    triplet = MATTriplet(record.triplet.modality, record.triplet.area, record.question_type)
    return replace(record, triplet=triplet, subset=str(triplet), label=record.answer)


def _with_allowed(records: Iterable[Record]) -> tuple[Record, ...]:
    """A subset's records; phantoms get the answers that occur as the allowed ones, which a question does not list."""
    found = tuple(records)
    if found[0].options or found[0].triplet.task not in PHANTOM_TASKS:
        return found
    allowed = tuple(sorted({record.answer for record in found}))
    return tuple(replace(record, options=allowed) for record in found)


def _registry(records: Mapping[str, Sequence[Record]], base: Registry) -> Registry:
    """Entries of the subsets that are there: known ones with their tags, others with the triplet of their records."""
    known = {spec.key: spec for spec in base}
    free = 1 + max(spec.no for spec in base)
    specs = []
    for number, (key, found) in enumerate(records.items(), start=free):
        triplet = found[0].triplet
        kind = "det" if triplet.task.endswith("_det") else "seg" if triplet.task.endswith("_seg") else "cls"
        specs.append(known.get(key) or SubsetSpec(number, triplet, slug=key, kind=kind))  # type: ignore[arg-type]
    return Registry(specs, base.datasets.values())
