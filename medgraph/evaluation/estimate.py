"""A number with its interval, and the bootstrap over images for statistics that are no plain mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.statistics import percentile_interval
from medgraph.progress import track

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval over images; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan


def bootstrap_estimates(
    statistics: Callable[[Indices], Mapping[str, float]],
    clusters: Sequence[str],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Estimate]:
    """Intervals of several statistics of the same questions when whole images are drawn with replacement.

    Args:
        statistics: figures of the questions with these indices, which may repeat.
        clusters: (N,) image of each question.
        rng: source of the draws.
        resamples: number of draws; those in which a figure is undefined are left out of its interval.

    Returns:
        The figures of all questions, with intervals (NaN with fewer than two images).

    Example:
        >>> right = np.array([1.0, 1.0, 0.0, 1.0])
        >>> mean = lambda index: {"accuracy": float(right[index].mean())}
        >>> bootstrap_estimates(mean, ["a", "a", "b", "c"], np.random.default_rng(0), 200)["accuracy"].value
        0.75
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    n, m = len(index), int(index.max()) + 1
    values = statistics(np.arange(n))
    if m < 2:
        return {name: Estimate(value) for name, value in values.items()}
    draws: dict[str, list[float]] = {name: [] for name in values}
    for _ in track(range(resamples), "bootstrap"):
        counts = np.bincount(rng.integers(0, m, size=m), minlength=m)
        for name, value in statistics(np.repeat(np.arange(n), counts[index])).items():
            if not math.isnan(value):
                draws[name].append(value)
    estimates = {}
    for name, value in values.items():
        interval = percentile_interval(np.array(draws[name] or [math.nan]), m)
        estimates[name] = Estimate(value, interval.low, interval.high)
    return estimates


def estimate_means(
    points: Mapping[str, npt.NDArray[np.float64]],
    clusters: Sequence[str],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Estimate]:
    """Means of several (N,) columns of points of the same questions, with their intervals over images."""
    table = np.stack(list(points.values()), axis=1)
    return bootstrap_estimates(
        lambda index: dict(zip(points, table[index].mean(0).tolist(), strict=True)), clusters, rng, resamples
    )
