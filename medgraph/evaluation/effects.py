"""An arm against a control, over seeds and images: intervals of means and of differences, and an exact paired test.

Letters: S seeds, N test questions, M images, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from medgraph.evaluation.statistics import Floats, Interval

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


def effect_of(arm: Scores, control: Scores, name: str) -> Effect:
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


def resample_seeds_and_images(points: Floats, images: Sequence[str], seed: int = 0) -> Floats:
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
