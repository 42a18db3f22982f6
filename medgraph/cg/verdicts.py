"""Does training on related subsets help? The paper's tick, and a verdict that knows chance.

The paper (Med-MAT, arXiv:2412.20070, Table 3) ticks a row where the trained model is above the untrained one and above
one that has seen as many unrelated images, in whole percents and without a test. The verdict here asks for more of both
differences: an exact paired test on the test images (McNemar's, with one seed), corrected for all rows of the table,
and an interval over seeds and images that lies above zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from medgraph.evaluation.effects import Effect, Scores, effect_of
from medgraph.evaluation.likelihood import chosen_index, truth_index
from medgraph.evaluation.predictions import NO_CONTROL, Prediction, read_predictions
from medgraph.evaluation.statistics import detectable_difference, holm
from medgraph.progress import track

Scoring = Literal["likelihood", "generated"]
ALPHA = 0.05


def read_scores(files: Sequence[Path], split: str = "ood", scoring: Scoring = "likelihood") -> Scores:
    """Read ``predictions.jsonl`` of all seeds of an arm.

    By likelihood, a question whose answers are known (options, yes and no) is right where the true one is the most
    likely. A model that was never asked such a question then guesses, instead of failing at the form of the answer,
    which would make any training look like generalization. Other questions count as they were scored, boxes by IoU.

    Args:
        files: one a seed.
        split: tested.
        scoring: ``likelihood``, or ``generated`` for the answers that were written.

    Raises:
        ValueError: if the seeds were not asked the same questions.
    """
    rows: list[dict[str, float]] = []
    images: dict[str, str] = {}
    for file in files:
        asked = [p for p in read_predictions(file) if p.split == split and p.control == NO_CONTROL]
        rows.append({p.id: _points(p, scoring) for p in asked})
        images |= {p.id: p.image_id for p in asked}
        if rows[-1].keys() != rows[0].keys() or not rows[0]:
            raise ValueError(f"{file}: has other test questions than {files[0]} ({len(rows[-1])} and {len(rows[0])})")
    questions = tuple(sorted(images))
    points = np.array([[row[question] for question in questions] for row in rows])
    return Scores(points, questions, tuple(images[question] for question in questions))


def _points(prediction: Prediction, scoring: Scoring) -> float:
    truth = truth_index(prediction) if scoring == "likelihood" and prediction.logprobs else None
    return prediction.score if truth is None else float(chosen_index(prediction) == truth)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one row.

    Attributes:
        row: name of the experiment.
        arm: the arm that is judged, ``related`` unless said otherwise.
        accuracy: of it.
        effects: against each control.
        ticked: the paper's verdict: above all controls in whole percents.
        helps: ours.
        questions: N.
        detectable: smallest difference that McNemar's test finds with a power of 80 %.
    """

    row: str
    arm: str
    accuracy: float
    effects: tuple[Effect, ...]
    ticked: bool
    helps: bool
    questions: int
    detectable: float


def judge(
    rows: Mapping[str, Mapping[str, Scores]], arm: str = "related",
    controls: Sequence[str] = ("zero_shot", "baseline_plus"),
) -> list[Verdict]:  # fmt: skip
    """Judge the rows of a table together.

    Args:
        rows: by name of the experiment, the scores of its arms; rows without the arm or any control are left out.
        arm: which is judged.
        controls: what it has to be better than; those that a row lacks are left out there.

    Returns:
        A verdict a row, in their order.
    """
    found: list[tuple[str, Scores, dict[str, Scores], list[Effect]]] = []
    for name, arms in track(rows.items(), "judging"):
        against = {control: arms[control] for control in controls if control in arms}
        if arm in arms and against:
            effects = [effect_of(arms[arm], scores, control) for control, scores in against.items()]
            found.append((name, arms[arm], against, effects))
    corrected = iter(holm([effect.p for *_, effects in found for effect in effects]))
    verdicts = []
    for name, scores, against, effects in found:
        final = tuple(replace(effect, p_holm=next(corrected)) for effect in effects)
        verdicts.append(
            Verdict(
                row=name,
                arm=arm,
                accuracy=scores.accuracy,
                effects=final,
                ticked=_percent(scores) > max(map(_percent, against.values())),
                helps=all(effect.low > 0 and effect.p_holm < ALPHA for effect in final),
                questions=len(scores.questions),
                detectable=detectable_difference(len(scores.questions), _disagreement(scores, against.values())),
            )
        )
    return verdicts


def _percent(scores: Scores) -> int:
    return round(100 * scores.accuracy)


def _disagreement(arm: Scores, controls: Iterable[Scores]) -> float:
    """Largest share of the questions that most seeds of one got right and of the other did not."""
    right = arm.majority >= 0.5
    return max(0.01, *(float(np.mean(right != (control.majority >= 0.5))) for control in controls))
