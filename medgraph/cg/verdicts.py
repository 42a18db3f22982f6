"""Does training on related subsets help? The paper's tick, and a verdict that knows chance.

The paper (Med-MAT, arXiv:2412.20070, Table 3) ticks a row where the trained model is above the untrained one and above
one that has seen as many unrelated images, in whole percents and without a test. The verdict here asks for more of both
differences: an exact paired test on the test images (McNemar's, with one seed), corrected for all rows of the table,
and an interval over seeds and images that lies above zero.

Letters: S seeds, N test questions, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from medgraph.evaluation.likelihood import chosen_index, truth_index
from medgraph.evaluation.predictions import NO_CONTROL, Prediction, read_predictions
from medgraph.evaluation.statistics import (
    Floats,
    Interval,
    detectable_difference,
    holm,
)
from medgraph.progress import track

Scoring = Literal["likelihood", "generated"]
ALPHA = 0.05
RESAMPLES = 4000
PARTS_OF_A_POINT = 100
"""Grid on which differences of IoU are tested."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What all seeds of an arm got right.

    Attributes:
        points: (S, N) in [0, 1].
        questions: (N,) ids.
        images: (N,) image of each question.
    """

    points: Floats
    questions: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Mean over seeds and questions."""
        return float(self.points.mean())

    @property
    def majority(self) -> Floats:
        """(N,) share of the seeds that got a question right."""
        return self.points.mean(0)


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
class Effect:
    """An arm against a control.

    Attributes:
        control: its name.
        mean: difference in accuracy, arm minus control, over seeds and questions.
        low: lower end of the 95 % interval over seeds and images.
        high: upper end.
        p: of `paired_p`.
        p_holm: the same, corrected for the table.
    """

    control: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float = float("nan")


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
            effects = [compare(arms[arm], scores, control) for control, scores in against.items()]
            found.append((name, arms[arm], against, effects))
    corrected = iter(holm([effect.p for *_, effects in found for effect in effects]))
    verdicts = []
    for name, scores, against, effects in found:
        final = tuple(
            Effect(effect.control, effect.mean, effect.low, effect.high, effect.p, next(corrected))
            for effect in effects
        )
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


def compare(arm: Scores, control: Scores, name: str) -> Effect:
    """Compare an arm with a control, seed by seed and question by question.

    The interval is that of `interval_of`.

    Raises:
        ValueError: if they were asked other questions or have other numbers of seeds.
    """
    if arm.questions != control.questions or len(arm.points) != len(control.points):
        raise ValueError(f"{name}: {control.points.shape} seeds and questions against {arm.points.shape}; arms need "
                         "the same ones")  # fmt: skip
    difference = arm.points - control.points
    interval = interval_of(difference, arm.images)
    return Effect(name, float(difference.mean()), interval.low, interval.high, paired_p(difference, arm.images))


def paired_p(difference: Floats, images: Sequence[str]) -> float:
    """Exact two-sided p of arm and control being exchangeable on every image: its difference may as well flip its sign.

    With one seed and one question an image this is McNemar's exact test. With several seeds it tests the same mean as
    the interval; McNemar's test of what most seeds got right would not: a constant guess is right for most seeds as
    often as for one, guesses that vary from seed to seed hardly ever are.

    Args:
        difference: (S, N) points of the arm minus points of the control.
        images: (N,) image of each question.
    """
    _, image = np.unique(np.asarray(images), return_inverse=True)
    sums = np.bincount(image, difference.sum(0))
    whole = np.allclose(sums, np.rint(sums), atol=1e-9)
    units = np.rint(sums if whole else sums * PARTS_OF_A_POINT).astype(np.int64)
    sizes = np.abs(units[units != 0])
    chances = np.zeros(sizes.sum() + 1)  # of the sum of those that are positive
    chances[0] = 1.0
    for size in sizes:
        chances[size:] = (chances[size:] + chances[:-size]) / 2
        chances[:size] /= 2
    reached = np.abs(2 * np.arange(len(chances)) - sizes.sum()) >= abs(units.sum())
    return min(1.0, float(chances[reached].sum()))


def interval_of(points: Floats, images: Sequence[str]) -> Interval:
    """95 % interval of a mean over seeds and images; `interval_of_average` of one row.

    Args:
        points: (S, N) points, or differences of points.
        images: (N,) image of each question.
    """
    return interval_of_average([(points, images)])


def interval_of_average(rows: Sequence[tuple[Floats, Sequence[str]]]) -> Interval:
    r"""95 % interval of the average of rows' means, for other seeds and other images of the same rows.

    The variance is that over seeds plus that over whole images, each with the other averaged out,

    .. math:: V = V_s + V_m, \quad \nu = \frac{V^2}{V_s^2 / (S - 1) + V_m^2 / (M - 1)}

    and the tails are those of Student's t with Satterthwaite's degrees of freedom. Few seeds thus widen the interval as
    far as seeds differ. What depends on seed and image together is in both terms (two-way clustering, Cameron et al.
    2011, subtracts it once), so the interval errs on the wide side. A bootstrap over three seeds cannot tell a gain of
    20 points on 180 questions from zero.

    Args:
        rows: (S, N) points and (N,) images of each; seeds are the same in all rows, images may be.

    Returns:
        Over images alone with one seed; NaN with one image as well.
    """
    from scipy import stats

    over_seeds = np.mean([points.mean(1) for points, _ in rows], 0)
    apart = [(points.mean(0) - points.mean()) / (len(images) * len(rows)) for points, images in rows]
    _, image = np.unique(np.concatenate([np.asarray(images) for _, images in rows]), return_inverse=True)
    sums = np.bincount(image, np.concatenate(apart))
    parts = []
    if len(over_seeds) > 1:
        parts.append((over_seeds.var(ddof=1) / len(over_seeds), len(over_seeds) - 1))
    if len(sums) > 1:
        parts.append((len(sums) / (len(sums) - 1) * (sums**2).sum(), len(sums) - 1))
    mean, variance = float(over_seeds.mean()), sum(part for part, _ in parts)
    if not parts:
        return Interval(float("nan"), float("nan"))
    if not variance:
        return Interval(mean, mean)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(variance))
    return Interval(mean - half, mean + half)


def resampled_means(points: Floats, images: Sequence[str], seed: int = 0) -> Floats:
    """(R,) means of (S, N) points when seeds and whole images are drawn with replacement, together.

    The same draws for all arms of an experiment, so that what is computed of several arms is paired.
    """
    _, cluster = np.unique(np.asarray(images), return_inverse=True)
    sizes = np.bincount(cluster)
    sums = np.zeros((len(points), len(sizes)))
    np.add.at(sums.T, cluster, points.T)
    drawn_seeds, drawn_images = _draws(len(points), len(sizes), seed, RESAMPLES)
    return np.asarray(((drawn_seeds @ sums) * drawn_images).sum(1) / (len(points) * (drawn_images @ sizes)))


@lru_cache(maxsize=4)
def _draws(seeds: int, images: int, seed: int, resamples: int) -> tuple[Floats, Floats]:
    """How often each seed (R, S) and each image (R, M) is drawn."""
    rng = np.random.default_rng(seed)
    drawn = (rng.multinomial(n, np.full(n, 1 / n), resamples).astype(float) for n in (seeds, images))
    return next(drawn), next(drawn)


def _percent(scores: Scores) -> int:
    return round(100 * scores.accuracy)


def _disagreement(arm: Scores, controls: Iterable[Scores]) -> float:
    """Largest share of the questions that most seeds of one got right and of the other did not."""
    right = arm.majority >= 0.5
    return max(0.01, *(float(np.mean(right != (control.majority >= 0.5))) for control in controls))
