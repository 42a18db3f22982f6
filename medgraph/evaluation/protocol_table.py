"""Answers under every protocol, beside what answers without a model or without the image get under the same protocol.

``results.json`` holds a list ``protocols`` with one object a split and protocol; values are in per cent::

    {"split": "test", "protocol": "exgra",
     "figures": {"recall": {"value": 61.2, "n": 300, "interval": {"low": 57.0, "high": 65.3}}, "average": {…}, …},
     "rivals": {"recall": {"control": "vocabulary", "value": 94.7}, …}}

A rival is the control with the highest value of a figure. Where it reaches the model's, the figure says nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medgraph.evaluation.controls import (
    TrainingQuestion,
    constant,
    gaming_warnings,
    majority,
    nearest_question,
    vocabulary_dump,
)
from medgraph.evaluation.predictions import NO_CONTROL, Prediction
from medgraph.evaluation.protocols import PROTOCOLS, Figure, ProtocolScore, score_protocol
from medgraph.evaluation.protocols.protocol import Candidates
from medgraph.progress import track

HEADLINES = (
    "average", "total_accuracy", "choice_accuracy", "closed_accuracy", "cumulative_iou", "rouge_l", "recall",
    "open_accuracy",
)  # fmt: skip
"""The figure that a protocol is quoted by: the first of these that it has."""


@dataclass(frozen=True, slots=True)
class Rival:
    """The best control under one figure, in per cent."""

    control: str
    value: float


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """The model's figures under one protocol, in per cent, and the best control of each."""

    split: str
    protocol: str
    figures: Mapping[str, Figure]
    rivals: Mapping[str, Rival]

    @property
    def headline(self) -> str:
        """Name of the figure that the protocol is quoted by."""
        return next(name for name in HEADLINES if name in self.figures)

    def beaten(self, figure: str) -> bool:
        """Whether a control is at least as high."""
        return figure in self.rivals and self.rivals[figure].value >= self.figures[figure].value


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """One split under one control, scored under one or more protocols.

    Attributes:
        split: of the predictions.
        control: of the predictions; ``none`` for the model.
        n: questions.
        images: distinct images.
        scores: by protocol, in the order asked for; protocols that define nothing for the questions are absent.
        warnings: signs that a protocol overrates the answers.
    """

    split: str
    control: str
    n: int
    images: int
    scores: Mapping[str, ProtocolScore]
    warnings: Sequence[str] = field(default=())


def score_groups(
    predictions: Iterable[Prediction],
    names: Sequence[str] = tuple(PROTOCOLS),
    candidates: Candidates | None = None,
    train: Sequence[TrainingQuestion] = (),
    resamples: int = 2000,
    control_resamples: int | None = None,
) -> list[ScoredGroup]:
    """Score every split and control, and the controls that can be made on the spot.

    Args:
        predictions: of any splits and controls.
        names: protocols.
        candidates: distinct open training answers, for open accuracy and the vocabulary dump; None: those of ``train``.
        train: training questions, for the majority and nearest-question controls where the predictions have none.
        resamples: of the bootstrap over images; 0 leaves intervals out.
        control_resamples: the same for controls; None: as many.
    """
    for_controls = resamples if control_resamples is None else control_resamples
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.split, prediction.control].append(prediction)
    known = candidates or Candidates(tuple(dict.fromkeys(q.answer for q in train if q.answer_type == "open")))
    for split, control in list(groups):
        if control == NO_CONTROL:
            for made in _controls(groups[split, control], known, train):
                groups.setdefault((split, made[0].control), made)
    return [
        _score(split, control, members, names, known, resamples if control == NO_CONTROL else for_controls)
        for (split, control), members in track(groups.items(), "scoring by protocol")
    ]


def protocol_results(groups: Iterable[ScoredGroup]) -> tuple[ProtocolResult, ...]:
    """The model's figures with the best control of each; a control must have answered as many questions."""
    groups = list(groups)
    results = []
    for group in groups:
        if group.control != NO_CONTROL:
            continue
        others = [other for other in groups if other.split == group.split and other.control != NO_CONTROL]
        for name, score in group.scores.items():
            rivals: dict[str, Rival] = {}
            for figure, value in score.figures.items():
                found = [(o.control, o.scores[name].get(figure)) for o in others if name in o.scores]
                equal = [Rival(control, other.value) for control, other in found if other.n == value.n]
                if equal:
                    rivals[figure] = max(equal, key=lambda rival: rival.value)
            results.append(ProtocolResult(group.split, name, score.figures, rivals))
    return tuple(results)


def _controls(
    members: Sequence[Prediction], candidates: Candidates, train: Sequence[TrainingQuestion]
) -> list[list[Prediction]]:
    """Controls that need no model, without the empty ones."""
    made = [constant("yes", members, "always_yes")]
    if train:
        made += [majority(train, members), nearest_question(train, members)]
    if candidates.answers:
        listed = [TrainingQuestion("", answer, "", "open") for answer in (*candidates.answers, "yes", "no")]
        made.append(vocabulary_dump(listed, members))
    return [predictions for predictions in made if predictions]


def _score(
    split: str,
    control: str,
    members: Sequence[Prediction],
    names: Sequence[str],
    candidates: Candidates,
    resamples: int,
) -> ScoredGroup:
    wanted = [name for name in names if control == NO_CONTROL or name != "text"]  # slow, and no rival to read it beside
    scores = {name: score_protocol(members, name, candidates, resamples) for name in wanted}
    return ScoredGroup(
        split,
        control,
        len(members),
        len({p.image_id for p in members}),
        {name: score for name, score in scores.items() if score.figures},
        gaming_warnings(members),
    )
