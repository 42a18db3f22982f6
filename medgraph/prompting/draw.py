"""Which images are shots, validation and test of a few-shot task: by patient, nested, and the same for all methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, itemgetter
from typing import NamedTuple

from medgraph.config import ConfigError
from medgraph.data.errors import DataError
from medgraph.data.records import Corpus, Record, conversations_in
from medgraph.data.splits import position, split_of
from medgraph.data.vocabulary import AREAS, MODALITIES
from medgraph.prompting.classes import ClassTexts, describe_by_template

PARTS = {"shots": 0.35, "val": 0.15, "test": 0.5}
"""Share of the groups (patients, where they are known) from which each part of a task is drawn."""


OPTIONS = {"shots": "shots", "val": "max_validation"}
"""The option that says how many images are drawn from a part."""


class TaskImage(NamedTuple):
    """An image with its class, and what must not be split (patient, source)."""

    image: str
    label: int
    group: str


@dataclass(frozen=True, slots=True)
class Task:
    """C classes and their images.

    Attributes:
        names: one a class, sorted; the first half are the base classes.
        records: an example of each class.
        images: by part, see `PARTS`; no group is in two of them.
    """

    names: tuple[str, ...]
    records: tuple[Record, ...]
    images: Mapping[str, Sequence[TaskImage]]

    @property
    def base(self) -> int:
        """Number of base classes."""
        return (len(self.names) + 1) // 2

    def texts(self, num: int) -> ClassTexts:
        """The classes in words, with as many wordings of modality, area and task; see `describe_by_template`."""
        labels, triplets = [record.label for record in self.records], [record.triplet for record in self.records]
        return ClassTexts(self.names, describe_by_template(labels, triplets, num).descriptions)


def make_task(corpus: Corpus, seed: int) -> Task:
    """Make a task of a corpus: the held-out combinations of ``ood``, or, where there are none, the other splits.

    Held-out images are split by group; otherwise shots come from ``train`` and ``task``, and validation and test are
    the corpus' own. A class is a label, together with modality and area where labels alone are not unique.

    Args:
        corpus: images with labels.
        seed: of the split.

    Raises:
        ConfigError: if there are fewer than two classes.
    """
    if held_out := _labelled(corpus.splits.get("ood", ())):
        parts = {part: [r for r in held_out if split_of(r.group, seed, PARTS) == part] for part in PARTS}
    else:
        splits = {"shots": ("train", "task"), "val": ("val",), "test": ("test",)}
        parts = {part: _labelled(chain(*(corpus.splits.get(name, ()) for name in names)))
                 for part, names in splits.items()}  # fmt: skip
    examples = {full_name(record): record for records in parts.values() for record in records}
    name_of = attrgetter("label") if len({r.label for r in examples.values()}) == len(examples) else full_name
    named = {name_of(record): record for record in examples.values()}
    if len(named) < 2:
        raise ConfigError(f"the data has {len(named)} classes to tell apart; expected at least two labels in ood, or, "
                          "where there is no ood split, in train")  # fmt: skip
    names = sorted(named)
    images = {
        part: [TaskImage(record.image, names.index(name_of(record)), record.group) for record in records]
        for part, records in parts.items()
    }
    return Task(tuple(names), tuple(named[name] for name in names), images)


def full_name(record: Record) -> str:
    """Name of a record's class that tells it from equal labels of other modalities and areas.

    A record of label ``mass`` with the triplet ct/lung/finding is of class ``mass in ct of the lung``.
    """
    modality, area = MODALITIES.describe(record.triplet.modality), AREAS.describe(record.triplet.area)
    return f"{record.label} in {modality} of the {area}"


def _labelled(records: Iterable[Record]) -> list[Record]:
    """One record of every image with a label."""
    return [group[0] for group in conversations_in(records) if group[0].label]


def draw(task: Task, part: str, count: int, seed: int) -> list[int]:
    """Draw as many images of every class: other patients before other images of the same, more contain fewer.

    Args:
        task: classes and images.
        part: ``shots`` or ``val``.
        count: images a class.
        seed: of the draw.

    Returns:
        Positions among the images of the part, sorted.

    Raises:
        DataError: if a class has fewer images.
    """
    images = task.images[part]
    met: Counter[tuple[int, str]] = Counter()
    ranked: dict[int, list[tuple[int, int]]] = {label: [] for label in range(len(task.names))}
    for i in sorted(range(len(images)), key=lambda i: position(seed, part, images[i].image)):
        key = images[i].label, images[i].group
        ranked[images[i].label].append((met[key], i))
        met[key] += 1
    for label, mine in ranked.items():
        if len(mine) < count:
            raise DataError(f"class {task.names[label]!r} has {len(mine)} images to draw {part} from, fewer than "
                            f"{count}; lower {OPTIONS[part]}, or add images")  # fmt: skip
        mine.sort(key=itemgetter(0))
    return sorted(i for mine in ranked.values() for _, i in mine[:count])
