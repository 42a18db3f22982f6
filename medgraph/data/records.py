"""What every reader produces and every data module consumes: triplets, records and a corpus of splits.

A *record* is one question about one image. Training groups the records of one image into a conversation, evaluation
asks them one by one. Readers know files; nothing behind this module does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

AnswerType = Literal["closed", "open", "choice"]
"""``closed``: yes or no; ``choice``: one of ``Record.options``; ``open``: free text."""

ELEMENTS = ("modality", "area", "task")


@dataclass(frozen=True, slots=True, order=True)
class MATTriplet:
    """Modality, anatomical area and task of an image (Med-MAT, arXiv:2412.20070, section 2).

    Example:
        >>> a, b = MATTriplet.parse("CT/Lung/Cancer"), MATTriplet("CT", "Brain", "Cancer")
        >>> sorted(a.shared(b)), str(b)
        (['modality', 'task'], 'CT/Brain/Cancer')
    """

    modality: str
    area: str
    task: str

    @classmethod
    def parse(cls, text: str) -> MATTriplet:
        """Read ``modality/area/task`` (slashes or commas).

        Raises:
            ValueError: if there are not exactly three non-empty elements.
        """
        parts = [part.strip() for part in text.replace(",", "/").split("/")]
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"{text!r} is not a triplet: expected modality/area/task, e.g. CT/Lung/Cancer")
        return cls(*parts)

    def shared(self, other: MATTriplet) -> frozenset[str]:
        """Names of the elements that both triplets have in common, a subset of ``ELEMENTS``."""
        return frozenset(name for name in ELEMENTS if getattr(self, name) == getattr(other, name))

    def __str__(self) -> str:
        return f"{self.modality}/{self.area}/{self.task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One question about one image.

    Attributes:
        id: unique in its corpus.
        image_id: equal for records of the same image; duplicates are never negatives of each other, and intervals
            are clustered by it.
        image: what the corpus' ``load_image`` understands: a path relative to the data root, or a phantom index.
        question: the text a user would ask, without answer options.
        answer: the short answer; one of ``options`` when there are any.
        extended: the extended answer of ExGra-Med: the same in more words, or with more facts.
        answer_type: see ``AnswerType``.
        question_type: what is asked (``modality``, ``presence`` …), the rows of the result tables.
        options: the allowed answers of a choice question, in the order they are shown.
        triplet: modality, area and task of the image.
        label: the class of the image in its subset.
        subset: name of the subset the image belongs to.
        group: what must not be split between training and test: patient, video, source.
    """

    id: str
    image_id: str
    image: str
    question: str
    answer: str
    extended: str
    answer_type: AnswerType
    question_type: str
    triplet: MATTriplet
    label: str
    subset: str
    group: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """Splits of records and the way to their images.

    Attributes:
        splits: ``train`` (instruction data, already cut to the requested fraction), ``task`` (what stage 3 fine-tunes
            on, the same at every fraction), ``val``, ``test`` (in distribution) and ``ood`` (combinations of modality,
            area and task that no training split contains). Every image is in one split only, but for ``task``, which
            contains ``train`` where a question-answering set is all there is, and for leaks that a set was published
            with; those are in the notes.
        load_image: maps ``Record.image`` and a side length in pixels to an (side, side, 3) uint8 RGB image.
        notes: counted facts that belong in the report (records dropped and why, unreadable images …).
        ordered: subsets whose records are turns that refer to earlier ones; their ids are ``<conversation>/<turn>``.
        turns: how many independent questions about an image make one training conversation; None: all.
        vocabulary: texts that a tokenizer made for the data should know beside those of training, so that arms with
            different training data share it.
    """

    splits: Mapping[str, Sequence[Record]]
    load_image: Callable[[str, int], Image]
    notes: Mapping[str, int] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    turns: int | None = None
    vocabulary: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Hash of every record in every split (16 hex digits): two runs with equal values read the same records.

        Images count by their names, not their pixels. Computed once.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.splits):
            digest.update(f"\n[{name}]".encode())
            for record in self.splits[name]:
                digest.update(repr(astuple(record)).encode())
        for text in self.vocabulary:
            digest.update(f"\n{text}".encode())
        return digest.hexdigest()[:16]


def conversation_of(record: Record, ordered: Collection[str]) -> str:
    """What a record is trained together with: the other turns of its conversation, or the questions of its image.

    Args:
        record: one question.
        ordered: see `Corpus.ordered`.
    """
    return record.id.rpartition("/")[0] if record.subset in ordered else record.image_id


def conversations_in(records: Iterable[Record], ordered: Collection[str] = ()) -> list[list[Record]]:
    """Records that are trained together, in the order of their first appearance; without ``ordered``, by image.

    Args:
        records: of one split.
        ordered: see `Corpus.ordered`.
    """
    grouped: dict[str, list[Record]] = {}
    for record in records:
        grouped.setdefault(conversation_of(record, ordered), []).append(record)
    return list(grouped.values())


def take_questions(records: Sequence[Record], limit: int | None) -> list[Record]:
    """Choose some records, the same ones each time and from all over the split (splits may be sorted by subset).

    Args:
        records: a split.
        limit: how many at most; None takes all in their order.
    """
    if limit is None or limit >= len(records):
        return list(records)
    return sorted(records, key=lambda record: hashlib.sha256(record.id.encode()).digest())[:limit]


def take_fraction(images: Iterable[str], fraction: float) -> set[str]:
    """Choose a share of the images so that a smaller share is always contained in a larger one.

    Images are ranked by a hash of their id, so adding data never reshuffles the rest.

    Args:
        images: image ids, in any order, duplicates allowed.
        fraction: share to keep, in (0, 1]; at least one image is kept.

    Raises:
        ValueError: if the fraction is outside (0, 1].

    Example:
        >>> ids = [f"image-{i}" for i in range(100)]
        >>> len(take_fraction(ids, 0.1)), take_fraction(ids, 0.1) <= take_fraction(ids, 0.4)
        (10, True)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    distinct = set(images)
    return take_images(distinct, max(1, round(fraction * len(distinct))))


def take_images(images: Iterable[str], count: int) -> set[str]:
    """Choose a number of images so that a smaller number is always contained in a larger one.

    Args:
        images: image ids, in any order, duplicates allowed.
        count: how many at most.
    """
    return set(sorted(set(images), key=lambda image: hashlib.sha256(image.encode()).digest())[:count])
