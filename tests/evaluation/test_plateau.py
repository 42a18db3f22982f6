import math

import numpy as np
import pytest

from medgraph.evaluation.plateau import CurvePoint, judge_plateau, mean_curve


def curve(values, n=500):
    return [CurvePoint(step=10 * i, value=float(v), n=n) for i, v in enumerate(values)]


def saturating(rng, points=24, tau=2.0, noise=0.003):
    return 0.9 - 0.6 * np.exp(-np.arange(points) / tau) + rng.normal(0, noise, points)


def test_a_saturated_curve_is_a_plateau_and_a_climbing_one_is_not(rng):
    assert judge_plateau(curve(saturating(rng))).verdict == "plateau"
    climbing = judge_plateau(curve(saturating(rng, tau=12)))
    assert climbing.verdict == "rising"
    assert climbing.gain > 0.01
    assert "Still rising" in climbing.sentence


def test_losses_fall_and_order_does_not_matter(rng):
    values = 1 - saturating(rng, tau=12)
    points = curve(values)
    assert judge_plateau(points[::-1], higher_is_better=False).verdict == "rising"
    assert judge_plateau(points).verdict == "plateau", "a falling accuracy has nothing left to gain"


def test_what_cannot_be_decided():
    assert "7 evaluations are too few" in judge_plateau(curve([0.5] * 7)).sentence
    small = judge_plateau(curve([0.5] * 8, n=50))
    assert small.verdict == "undecided"
    assert "one of 50 questions is worth 2 points, more than 1 point." in small.sentence
    assert judge_plateau(curve([0.5, 0.6] * 8)).verdict == "undecided"
    assert math.isnan(small.gain)


def test_constant_values_are_a_plateau():
    assert judge_plateau(curve([0.3] * 4 + [0.8] * 4)).verdict == "plateau"


def test_seeds_are_averaged_where_all_were_evaluated():
    first, second = curve([0.2, 0.4, 0.6]), curve([0.4, 0.8], n=100)
    assert mean_curve([first, second]) == [
        CurvePoint(0, pytest.approx(0.3), 100),
        CurvePoint(10, pytest.approx(0.6), 100),
    ]
    assert mean_curve([]) == []


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="step 10 is nan"):
        judge_plateau(curve([0.5, math.nan]))
    with pytest.raises(ValueError, match="minimal_gain must be positive"):
        judge_plateau(curve([0.5]), minimal_gain=0)


@pytest.mark.slow
def test_a_gain_that_matters_is_called_a_plateau_in_at_most_one_of_twenty():
    rng = np.random.default_rng(0)
    step = np.repeat([0.5, 0.6, 0.70, 0.71], 6)  # the last quarter gains exactly the point that matters
    verdicts = [judge_plateau(curve(step + rng.normal(0, 0.01, 24))).verdict for _ in range(2000)]
    assert 0.03 < np.mean([v == "plateau" for v in verdicts]) < 0.065


def test_a_curve_that_is_flat_on_one_side_warns_nobody():
    values = [0.2, 0.3, 0.4, 0.5, 0.55, 0.55, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    assert judge_plateau([CurvePoint(step, value, 500) for step, value in enumerate(values)]).sentence
