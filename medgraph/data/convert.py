"""From labels to choice questions: Med-MAT's conversion, rebuilt from captions (arXiv:2412.20070, section 2.1).

Up to four options, distractors from the other labels of the same subset, balanced letters, six wordings. Everything
depends on the seed and the record's id, never on the order of records or the epoch.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from medgraph.data.questions import same
from medgraph.data.records import MATTriplet
from medgraph.data.splits import position
from medgraph.data.vocabulary import AREAS, MODALITIES

NAMED = (
    "What does this {modality} of the {area} show?",
    "Which of the options describes this {modality} of the {area} best?",
    "Look at this {modality} of the {area} and choose the option that fits.",
    "Assess this {modality} of the {area}: which label applies?",
    "Choose the label that belongs to this {modality} of the {area}.",
    "Read this {modality} of the {area} and give the matching answer.",
)
"""Six wordings that name modality and area, as Med-MAT's own do."""

NEUTRAL = (
    "What does this image show?",
    "Which of the options describes this image best?",
    "Look at this image and choose the option that fits.",
    "Assess this image: which label applies?",
    "Choose the label that belongs to this image.",
    "Read this image and give the matching answer.",
)
"""The same wordings without modality and area, so that the text does not give two elements of the triplet away."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice question.

    Attributes:
        question: without the options.
        options: in the order they are shown.
        answer: one of them.
    """

    question: str
    options: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class QuestionConverter:
    """Makes choice questions for the images of one subset.

    Attributes:
        labels: all labels of the subset; for multi-label subsets all captions.
        triplet: fills the wordings.
        num_options: most options offered; fewer labels give fewer options.
        templates: wordings with the optional places ``{modality}`` and ``{area}``.
        distractors: ``uniform``, or ``near`` for ordered labels (levels): the neighbours first.
        multilabel: labels are comma-joined sets; permutations, subsets and supersets of the answer are no distractors.
        seed: seed of everything.

    Raises:
        ValueError: for fewer than two labels or options.

    Example:
        >>> make = QuestionConverter(["Cyst", "Normal", "Stone"], MATTriplet("CT", "Kidney", "diseases"))
        >>> choice = make("subset-02/7", "Cyst")
        >>> choice.question, sorted(choice.options)
        ('Read this CT scan of the kidney and give the matching answer.', ['Cyst', 'Normal', 'Stone'])
    """

    labels: Sequence[str]
    triplet: MATTriplet
    num_options: int = 4
    templates: Sequence[str] = NAMED
    distractors: Literal["uniform", "near"] = "uniform"
    multilabel: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        distinct = {same(label) for label in self.labels}
        if len(distinct) < 2:
            raise ValueError(
                f"{self.triplet}: {len(distinct)} label(s) {sorted(self.labels)}; a choice question needs at least 2"
            )
        if self.num_options < 2:
            raise ValueError(f"num_options={self.num_options}: expected at least 2")

    def __call__(self, record_id: str, answer: str, template: int | None = None) -> Choice:
        """Make the question of one record; the letter of its answer is drawn.

        Args:
            record_id: decides wording, distractors and order.
            answer: the label of the image.
            template: which wording; None: drawn.

        Raises:
            ValueError: if no label is wrong when this answer is right (multi-label subsets).
        """
        slot = int(position(self.seed, "slot", record_id) * self.num_shown(answer))
        return self._make(record_id, answer, slot, template)

    def balanced(self, answers: Mapping[str, str]) -> dict[str, Choice]:
        """Make the questions of many records so that every letter is equally often right.

        Within the answers of one label the letters go round in turn, starting at a drawn one, over the records in the
        order of a hash; so neither letter nor label predicts the other.

        Args:
            answers: record id to label.
        """
        choices, turn = {}, {label: int(position(self.seed, "turn", label) * 60) for label in set(answers.values())}
        for record_id in sorted(answers, key=lambda name: (position(self.seed, "order", name), name)):
            answer = answers[record_id]
            choices[record_id] = self._make(record_id, answer, turn[answer] % self.num_shown(answer), None)
            turn[answer] += 1
        return choices

    def num_shown(self, answer: str) -> int:
        """Number of options of a question with this answer."""
        return min(self.num_options, 1 + len(self._others(answer)))

    def _make(self, record_id: str, answer: str, slot: int, template: int | None) -> Choice:
        digest = hashlib.sha256(f"{self.seed}\0options\0{record_id}".encode()).digest()
        rng = random.Random(digest)
        wrong = self._draw(answer, self.num_shown(answer) - 1, rng)
        if not wrong:
            raise ValueError(f"record {record_id}: no label of {self.triplet} is wrong when {answer!r} is right")
        rng.shuffle(wrong)
        options = (*wrong[:slot], answer, *wrong[slot:])
        if template is None:
            template = int(position(self.seed, "template", record_id) * len(self.templates))
        question = self.templates[template].format(
            modality=MODALITIES.describe(self.triplet.modality), area=AREAS.describe(self.triplet.area)
        )
        return Choice(question, options, answer)

    def _draw(self, answer: str, count: int, rng: random.Random) -> list[str]:
        others = self._others(answer)
        if self.distractors == "uniform":
            return rng.sample(others, count)
        ranks = {same(label): rank for rank, label in enumerate(self.labels)}
        here = ranks[same(answer)]
        return sorted(others, key=lambda label: (abs(ranks[same(label)] - here), rng.random()))[:count]

    def _others(self, answer: str) -> list[str]:
        """Labels that are wrong when ``answer`` is right, in a fixed order and once each."""
        if not self.multilabel:
            return [label for form, label in self._distinct.items() if form != same(answer)]
        truth = _parts(answer)
        return [label for label, parts in self._sets.items() if not (parts <= truth or parts >= truth)]

    @cached_property
    def _distinct(self) -> dict[str, str]:
        """Compared form to label, in a fixed order."""
        return {same(label): label for label in sorted(self.labels)}

    @cached_property
    def _sets(self) -> dict[str, frozenset[str]]:
        """Multi-label caption to its labels, one caption a set."""
        return {label: parts for parts, label in {_parts(label): label for label in self._distinct.values()}.items()}


def _parts(caption: str) -> frozenset[str]:
    return frozenset(same(caption).split(", "))
