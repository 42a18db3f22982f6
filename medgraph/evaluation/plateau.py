"""Has a run reached its plateau? A rule stated before looking, applied to the validation curve.

"10 % of the data matches 100 %" means nothing while the 100 % run is still climbing. The rule: split the evaluations
into quarters and compare the mean of the last quarter with the quarter before it.

* *plateau*: the upper end of the 90 % t interval (Welch) of the gain lies below the smallest gain that matters, one
  point of accuracy by default. This is an equivalence test in one direction at level 5 %: few or noisy evaluations
  never make a plateau.
* *rising*: the lower end lies above 0 and the gain is at least the smallest that matters.
* *undecided*: anything else, and every curve with fewer than two evaluations a quarter or with so few validation
  questions that one of them is worth more than the smallest gain that matters.

Every evaluation asks the same questions, so the verdict is about these questions. A learning rate that has decayed to
zero flattens every curve: a plateau says that this schedule has ended, not that a longer one would gain nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

PER_QUARTER = 2


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One evaluation during training: optimiser step, validation value, and the number of questions where known."""

    step: float
    value: float
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Plateau:
    """Verdict of `judge_plateau`.

    Attributes:
        verdict: see the module.
        gain: mean of the last quarter minus the quarter before (sign turned where lower is better); NaN if untested.
        low: lower end of the 90 % interval of the gain.
        high: upper end.
        sentence: the verdict with its numbers, for people.
    """

    verdict: Literal["plateau", "rising", "undecided"]
    gain: float
    low: float
    high: float
    sentence: str


def judge_plateau(curve: Sequence[CurvePoint], minimal_gain: float = 0.01, higher_is_better: bool = True) -> Plateau:
    """Apply the rule of this module to a validation curve.

    Args:
        curve: evaluations in any order; accuracy as a share in [0, 1], or a loss.
        minimal_gain: smallest gain between quarters that matters, in units of the values.
        higher_is_better: False for losses.

    Raises:
        ValueError: for a gain that is not positive or values that are not finite.
    """
    if minimal_gain <= 0:
        raise ValueError(f"minimal_gain must be positive, got {minimal_gain}")
    points = sorted(curve, key=lambda point: point.step)
    if bad := [point for point in points if not math.isfinite(point.value)]:
        raise ValueError(f"validation value at step {bad[0].step:g} is {bad[0].value}; a plateau needs finite values")
    quarter = len(points) // 4
    if quarter < PER_QUARTER:
        return _untested(f"{len(points)} evaluations are too few, the rule needs {4 * PER_QUARTER}")
    fewest = _fewest(points)
    if higher_is_better and fewest and 1 / fewest > minimal_gain:
        return _untested(f"one of {fewest} questions is worth {_points(1 / fewest)}, more than {_points(minimal_gain)}")
    values = np.array([point.value for point in points]) * (1 if higher_is_better else -1)
    gain, low, high = _welch(values[-2 * quarter : -quarter], values[-quarter:])
    numbers = (
        f"from step {points[-2 * quarter].step:g} to {points[-1].step:g} the last quarter gained {gain:+.4f} "
        f"over the one before (90 % interval {low:+.4f} to {high:+.4f}; a gain of {minimal_gain:g} matters)"
    ).replace("-", "−")
    if high < minimal_gain:
        return Plateau("plateau", gain, low, high, f"Plateau reached: {numbers}.")
    if low > 0 and gain >= minimal_gain:
        return Plateau("rising", gain, low, high, f"Still rising: {numbers}.")
    return Plateau("undecided", gain, low, high, f"Undecided: {numbers}.")


def mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> list[CurvePoint]:
    """Average the curves of several seeds at the steps that all of them were evaluated at.

    Args:
        curves: one curve a seed.

    Returns:
        The mean value at every common step, in order; n is the smallest of the seeds.
    """
    by_step = [{point.step: point for point in curve} for curve in curves]
    common = sorted(set.intersection(*map(set, by_step))) if by_step else []
    return [
        CurvePoint(step, float(np.mean([c[step].value for c in by_step])), _fewest([c[step] for c in by_step]))
        for step in common
    ]


def _fewest(points: Sequence[CurvePoint]) -> int | None:
    return min((point.n for point in points if point.n), default=None)


def _welch(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Gain in means and the ends of its 90 % interval."""
    from scipy import stats

    gain = float(after.mean() - before.mean())
    if np.ptp(before) == np.ptp(after) == 0:
        return gain, gain, gain
    with warnings.catch_warnings():  # a curve may be flat on one side
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        interval = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.90)
    return gain, float(interval.low), float(interval.high)


def _untested(reason: str) -> Plateau:
    return Plateau("undecided", math.nan, math.nan, math.nan, f"Undecided: {reason}.")


def _points(share: float) -> str:
    text = f"{100 * share:.2g}"
    return f"{text} point" + "s" * (text != "1")
