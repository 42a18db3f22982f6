"""Intervals and tests: one run, two runs on the same questions, two methods over seeds, a table of tests.

Scores are arrays of points in [0, 1], one a question. Questions about one image are not independent, so bootstrap
intervals resample images (clusters), never questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % (unless said otherwise) confidence interval."""

    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether the value lies inside, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference ``b - a`` with its interval and a two-sided p-value (NaN where no test exists).

    Attributes:
        mean: mean difference.
        sd: standard deviation of the differences over seeds; NaN for differences over questions.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided p-value; `p_name` says of which test.
        p_name: ``McNemar, exact`` or ``paired t``.
        n: number of pairs.
        p_sign: exact two-sided sign test, over seeds only, else NaN.
    """

    mean: float
    low: float
    high: float
    p: float
    p_name: str
    n: int
    sd: float = math.nan
    p_sign: float = math.nan


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927); right near 0 and 1, for questions of independent images.

    Raises:
        ValueError: unless 0 <= successes <= n and n > 0.

    Example:
        >>> interval = wilson(8, 10)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.49, 0.943)
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"an interval needs 0 <= successes <= n and n > 0, got {successes} of {n}")
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


def cluster_bootstrap(
    scores: npt.ArrayLike,
    clusters: Sequence[str],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of the mean score when whole images are resampled.

    The tails are widened to those of Student's t with (images - 1) degrees of freedom and by sqrt(m / (m - 1))
    (Hesterberg 2015, "expanded percentile"), without which few images give too narrow an interval.

    Args:
        scores: (N,) points of the questions.
        clusters: (N,) image of each question.
        rng: source of the resamples.
        resamples: number of resamples.
        level: coverage.

    Returns:
        The interval; NaN ends with fewer than two images.
    """
    means = resampled_means(scores, clusters, rng, resamples)
    return percentile_interval(means, len(set(clusters)), level)


def resampled_means(
    scores: npt.ArrayLike, clusters: Sequence[str], rng: np.random.Generator, resamples: int = RESAMPLES
) -> Floats:
    """Means of the scores when whole images are drawn with replacement.

    Args:
        scores: (N,) points of the questions.
        clusters: (N,) image of each question.
        rng: source of the draws.
        resamples: number of draws.

    Returns:
        (resamples,) means.

    Raises:
        ValueError: if the lengths differ or are zero.
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) != len(clusters) or not len(values):
        raise ValueError(f"scores and clusters need equal, non-zero lengths, got {len(values)} and {len(clusters)}")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    m = len(sums)
    means = np.empty(resamples)
    block = max(1, 2_000_000 // m)
    for start in range(0, resamples, block):
        drawn = rng.integers(0, m, size=(min(block, resamples - start), m))
        means[start : start + block] = sums[drawn].sum(1) / counts[drawn].sum(1)
    return means


def macro_bootstrap(
    scores: npt.ArrayLike,
    clusters: Sequence[str],
    groups: Sequence[int],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Like `cluster_bootstrap`, for the unweighted mean of the means of groups that share images.

    Args:
        scores: (N,) points of the questions.
        clusters: (N,) image of each question.
        groups: (N,) group 0, 1 … of each question, such as open and closed.
        rng: source of the resamples.
        resamples: number of resamples.
        level: coverage.
    """
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(groups)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    m = int(index.max()) + 1
    drawn = rng.integers(0, m, size=(resamples, m))
    means = []
    for group in np.unique(labels):
        mine = labels == group
        sums = np.bincount(index[mine], weights=values[mine], minlength=m)
        counts = np.bincount(index[mine], minlength=m)
        means.append(sums[drawn].sum(1) / np.maximum(counts[drawn].sum(1), 1))
    return percentile_interval(np.mean(means, axis=0), m, level)


def paired_bootstrap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    clusters: Sequence[str],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Difference:
    """Difference of two runs on the same questions: interval over images and exact McNemar test over questions.

    Args:
        first: (N,) points of the reference.
        second: (N,) points of the other run, same order.
        clusters: (N,) image of each question.
        rng: source of the resamples.
        resamples: number of resamples.
        level: coverage.

    Returns:
        ``second - first``.

    Raises:
        ValueError: if the lengths differ.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not len(a) == len(b) == len(clusters):
        raise ValueError(f"paired scores need equal lengths, got {len(a)}, {len(b)} and {len(clusters)} clusters")
    interval = cluster_bootstrap(b - a, clusters, rng, resamples, level)
    return Difference(float((b - a).mean()), interval.low, interval.high, mcnemar(a, b), "McNemar, exact", len(a))


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Exact two-sided McNemar test: of the questions only one run got right, does one run have more than half?

    Questions count as right from half a point. Questions of one image are taken as independent: read it beside the
    cluster interval.

    Example:
        >>> mcnemar([1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1])
        0.03125
    """
    a, b = np.asarray(first) >= 0.5, np.asarray(second) >= 0.5
    return _sign_test(int((~a & b).sum()), int((a & ~b).sum()))


def paired_over_seeds(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Difference:
    """Difference of two methods trained with the same seeds: t interval, paired t-test and exact sign test.

    Args:
        first: one value a seed, of the reference.
        second: one value a seed, same order of seeds.
        level: coverage.

    Returns:
        ``second - first``; sd, interval and p of the t-test are NaN with a single seed or equal differences.

    Raises:
        ValueError: if the numbers of seeds differ or there are none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired seeds need equal, non-zero numbers of runs, got {len(first)} and {len(second)}")
    from scipy import stats

    delta = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    n, mean = len(delta), float(delta.mean())
    p_sign = _sign_test(int((delta > 0).sum()), int((delta < 0).sum()))
    sd = float(delta.std(ddof=1)) if n > 1 else math.nan
    if not sd > 1e-12:
        return Difference(mean, math.nan, math.nan, math.nan, "paired t", n, sd, p_sign)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * sd / math.sqrt(n)
    p = float(2 * stats.t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    return Difference(mean, mean - half, mean + half, p, "paired t", n, sd, p_sign)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one table for their number (Holm 1979); NaN stays NaN and is not counted.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03])
        [0.03, 0.06, nan, 0.06]
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.asarray(p_values, dtype=np.float64)
    tested = np.isfinite(adjusted)
    if tested.any():
        adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
    return [float(p) for p in adjusted]


def detectable_difference(n: int, disagreement: float = 0.2, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest paired difference in accuracy that a McNemar test on n questions finds with the given power.

    Args:
        n: number of questions.
        disagreement: share of questions that exactly one of the two runs gets right.
        power: chance of finding the difference.
        level: 1 - significance level, two-sided.

    Returns:
        The difference as a share, from the normal approximation (Connor 1987), at most `disagreement`.

    Example:
        >>> round(detectable_difference(200), 2)
        0.09
    """
    from scipy import optimize, stats

    z_level, z_power = float(stats.norm.ppf(0.5 + level / 2)), float(stats.norm.ppf(power))

    def shortfall(delta: float) -> float:
        return z_level * math.sqrt(disagreement) + z_power * math.sqrt(disagreement - delta**2) - delta * math.sqrt(n)

    return float(disagreement if shortfall(disagreement) > 0 else optimize.brentq(shortfall, 0, disagreement))


def _sign_test(plus: int, minus: int) -> float:
    from scipy import stats

    return float(stats.binomtest(plus, plus + minus).pvalue) if plus + minus else 1.0


def percentile_interval(means: Floats, clusters: int, level: float = 0.95) -> Interval:
    """Interval from resampled values, with the tails of `cluster_bootstrap`; NaN ends with fewer than two clusters."""
    if clusters < 2:
        return Interval(math.nan, math.nan)
    from scipy import stats

    tail = float(stats.norm.cdf(stats.t.ppf((1 - level) / 2, clusters - 1) * math.sqrt(clusters / (clusters - 1))))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))
