"""From predictions to ``results.json``: accuracy with intervals, chance, constant answers and controls beside it.

A number is worth something only if it clears what needs no image. Three such levels stand beside every accuracy:

* *chance*: a random answer, 1/2 for closed questions, 1/k for k options, and for open questions one over the number of
  distinct true answers that its question type has in the split;
* *constant*: the best single answer per question type and answer type, chosen in hindsight on the split itself, so
  that no predictor that ignores the image and reads only these types can do better;
* every *control* in the predictions (no image, majority answer of the training set …), compared question by question.

A row whose interval does not clear a level carries that level's name in `Row.not_above`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medgraph.data.records import ELEMENTS, MATTriplet
from medgraph.evaluation.circular import CircularResult, circular_results
from medgraph.evaluation.confidence import CalibrationResult, calibrations
from medgraph.evaluation.parsing import normalise
from medgraph.evaluation.plain import from_plain, to_plain
from medgraph.evaluation.predictions import NO_CONTROL as NO_CONTROL
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocol_table import ProtocolResult, protocol_results, score_groups
from medgraph.evaluation.protocols.protocol import Candidates
from medgraph.evaluation.robustness import ShiftResult, corruption_results, held_out_results
from medgraph.evaluation.scoring import is_parsed, token_overlap
from medgraph.evaluation.statistics import (
    RESAMPLES,
    Difference,
    Interval,
    cluster_bootstrap,
    paired_bootstrap,
    wilson,
)
from medgraph.files import replacing
from medgraph.progress import track

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Row:
    """Accuracy of a set of questions.

    Attributes:
        n: questions.
        images: distinct images.
        accuracy: mean score in [0, 1].
        wilson: interval as if questions were independent.
        bootstrap: interval over images.
        chance: accuracy of random answers, see the module.
        constant: accuracy of the best constant answer per question type, see the module.
        f1: mean token F1 of the open questions; None without any.
        unparsed: share of answers that name none of the allowed answers.
        not_above: levels and controls that the interval does not clear.
    """

    n: int
    images: int
    accuracy: float
    wilson: Interval
    bootstrap: Interval
    chance: float
    constant: float
    f1: float | None
    unparsed: float
    not_above: tuple[str, ...] = ()

    @property
    def interval(self) -> Interval:
        """The interval to show: over images, and Wilson's where resampling images says nothing."""
        varies = self.bootstrap.high > self.bootstrap.low
        return self.bootstrap if varies and 0 < self.accuracy < 1 else self.wilson


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Everything about one split under one control.

    Attributes:
        split: ``test``, ``ood`` …
        control: ``none`` for the model as it is.
        overall: all questions.
        tables: rows by ``question_type``, ``answer_type``, ``subset``, ``modality``, ``area`` and ``task``.
        over: paired difference to each control on the questions both answered; only for control ``none``.
    """

    split: str
    control: str
    overall: Row
    tables: Mapping[str, Mapping[str, Row]]
    over: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Results:
    """What ``results.json`` holds.

    Attributes:
        entries: one per split and control, in the order of the predictions.
        calibration: of the model's confidences, see `medgraph.evaluation.confidence`.
        circular: choice questions with rotated options, see `medgraph.evaluation.circular`.
        robustness: corrupted images and held-out questions, see `medgraph.evaluation.robustness`.
        protocols: figures of every protocol and the best control of each, see `medgraph.evaluation.protocol_table`.
    """

    entries: tuple[SplitResult, ...]
    calibration: tuple[CalibrationResult, ...] = ()
    circular: tuple[CircularResult, ...] = ()
    robustness: tuple[ShiftResult, ...] = ()
    protocols: tuple[ProtocolResult, ...] = ()

    def get(self, split: str, control: str = NO_CONTROL) -> SplitResult:
        """The entry of a split and control.

        Raises:
            KeyError: naming the entries there are.
        """
        for entry in self.entries:
            if (entry.split, entry.control) == (split, control):
                return entry
        known = ", ".join(f"{e.split}/{e.control}" for e in self.entries)
        raise KeyError(f"no results for {split}/{control}; there are {known}")

    @property
    def splits(self) -> list[str]:
        """Splits that the model itself answered."""
        return [entry.split for entry in self.entries if entry.control == NO_CONTROL]

    def controls(self, split: str) -> list[SplitResult]:
        """The control entries of a split."""
        return [entry for entry in self.entries if entry.split == split and entry.control != NO_CONTROL]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return {"format": FORMAT, **to_plain(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        """Inverse of `to_dict`.

        Raises:
            ValueError: for a file of another format.
        """
        if values.get("format") != FORMAT:
            raise ValueError(f"results of format {values.get('format')!r}, this version reads {FORMAT}; score again")
        return from_plain(cls, values)

    def save(self, path: str | Path) -> None:
        """Write ``results.json``."""
        with replacing(Path(path)) as part:
            part.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read ``results.json``."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))


def summarise(
    predictions: Iterable[Prediction],
    seed: int = 0,
    resamples: int = RESAMPLES,
    validation: Sequence[Prediction] = (),
    rotated: Sequence[Prediction] = (),
    corrupted: Sequence[Prediction] = (),
    candidates: Sequence[str] = (),
) -> Results:
    """Score tables, intervals, comparisons and calibration of everything in a predictions file.

    Args:
        predictions: of any splits and controls.
        seed: of the bootstrap.
        resamples: of the bootstrap; everything but the overall rows uses a tenth or less.
        validation: answers to validation questions, to fit the temperature on.
        rotated: answers to choice questions with their options in other orders.
        corrupted: answers about corrupted images.
        candidates: distinct open answers of the training set, for open accuracy and the vocabulary dump.

    Raises:
        ValueError: if there are no predictions.
    """
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    predictions = list(predictions)
    for prediction in predictions:
        groups[prediction.split, prediction.control].append(prediction)
    if not groups:
        raise ValueError("no predictions to summarise; the file is empty or the run was stopped before evaluation")
    entries = []
    for (split, control), members in track(groups.items(), "scoring"):
        rng = np.random.default_rng(seed)
        chance, constant = chance_levels(members), constant_levels(members)
        over = {}
        if control == NO_CONTROL:
            others = {name: group for (other, name), group in groups.items() if other == split and name != control}
            over = {name: difference(group, members, rng, resamples) for name, group in others.items()}
        overall = _row(members, chance, constant, rng, resamples, over)
        tables = {
            name: {value: _row(rows, chance, constant, rng, resamples // 10) for value, rows in sorted(columns.items())}
            for name, columns in _columns(members).items()
        }
        entries.append(SplitResult(split, control, overall, tables, over))
    return Results(
        tuple(entries),
        calibrations(predictions, validation, seed, resamples // 20),
        circular_results(predictions, rotated, seed, resamples // 10),
        (
            *corruption_results(predictions, corrupted, seed, resamples // 10),
            *held_out_results(predictions, seed, resamples // 10),
        ),
        protocol_results(
            score_groups(
                predictions, candidates=Candidates(tuple(candidates)), resamples=resamples // 10, control_resamples=0
            )
        ),
    )


def difference(
    reference: Sequence[Prediction],
    other: Sequence[Prediction],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Difference:
    """Paired difference in score, ``other - reference``, on the questions (id, split) that both answered.

    Raises:
        ValueError: if there is no common question.
    """
    scores = {(p.id, p.split): p.score for p in reference}
    common = [p for p in other if (p.id, p.split) in scores]
    if not common:
        raise ValueError("the two sets of predictions have no question (id, split) in common")
    return paired_bootstrap(
        [scores[p.id, p.split] for p in common],
        [p.score for p in common],
        [p.image_id for p in common],
        rng,
        resamples,
    )


def chance_levels(predictions: Iterable[Prediction]) -> dict[str, float]:
    """Chance that a random answer is right, by question id; see the module for the definition."""
    predictions = list(predictions)
    answers = defaultdict(set)
    for p in predictions:
        answers[p.question_type, p.answer_type].add(normalise(p.answer))

    def chance(p: Prediction) -> float:
        if p.answer_type == "choice":
            return 1 / len(p.options)
        return 0.5 if p.answer_type == "closed" else 1 / len(answers[p.question_type, p.answer_type])

    return {p.id: chance(p) for p in predictions}


def constant_levels(predictions: Iterable[Prediction]) -> dict[str, float]:
    """1 for questions whose answer is the most frequent one of their types in these predictions, else 0."""
    predictions = list(predictions)
    answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for p in predictions:
        answers[p.question_type, p.answer_type][normalise(p.answer)] += 1
    best = {types: counts.most_common(1)[0][0] for types, counts in answers.items()}
    return {p.id: float(normalise(p.answer) == best[p.question_type, p.answer_type]) for p in predictions}


def _columns(predictions: Iterable[Prediction]) -> dict[str, dict[str, list[Prediction]]]:
    columns: dict[str, dict[str, list[Prediction]]] = {
        name: defaultdict(list) for name in ("question_type", "answer_type", "subset", *ELEMENTS)
    }
    for p in predictions:
        triplet = MATTriplet.parse(p.triplet)
        values = {name: getattr(triplet, name) for name in ELEMENTS}
        values |= {"question_type": p.question_type, "answer_type": p.answer_type, "subset": p.subset}
        for name, value in values.items():
            columns[name][value].append(p)
    return columns


def _row(
    predictions: Sequence[Prediction],
    chance: Mapping[str, float],
    constant: Mapping[str, float],
    rng: np.random.Generator,
    resamples: int,
    over: Mapping[str, Difference] | None = None,
) -> Row:
    scores = np.array([p.score for p in predictions])
    images = [p.image_id for p in predictions]
    f1 = [token_overlap(p.answer, p.prediction).f1 for p in predictions if p.answer_type == "open"]
    row = Row(
        n=len(predictions),
        images=len(set(images)),
        accuracy=float(scores.mean()),
        wilson=wilson(float(scores.sum()), len(scores)),
        bootstrap=cluster_bootstrap(scores, images, rng, resamples),
        chance=float(np.mean([chance[p.id] for p in predictions])),
        constant=float(np.mean([constant[p.id] for p in predictions])),
        f1=float(np.mean(f1)) if f1 else None,
        unparsed=float(np.mean([_unparsed(p) for p in predictions])),
    )
    levels = {"chance": row.chance, "constant answer": row.constant}
    not_above = [name for name, level in levels.items() if row.interval.low <= level]
    not_above += [name for name, delta in (over or {}).items() if not delta.low > 0]
    return replace(row, not_above=tuple(not_above))


def _unparsed(p: Prediction) -> bool:
    return not p.score and not is_parsed(p.prediction, p.answer_type, p.options)
