import numpy as np
import pytest

from medgraph.evaluation.effects import Scores
from medgraph.report.cg_curves import area_weights, curve, first_reached


def scores(rate, seeds=3, questions=80, seed=0):
    points = (np.random.default_rng(seed).random((seeds, questions)) < rate).astype(float)
    return Scores(points, tuple(f"q{i}" for i in range(questions)), tuple(f"i{i}" for i in range(questions)))


def test_area_is_the_trapezoidal_rule_over_the_logarithm():
    sizes, accuracy = [0, 20, 50, 1000], np.array([0.2, 0.5, 0.4, 0.9])
    x = np.log1p(sizes)
    assert area_weights(sizes) @ accuracy == pytest.approx(np.trapezoid(accuracy, x) / x[-1])
    assert area_weights(sizes).sum() == pytest.approx(1)


def test_the_size_that_is_enough_is_the_first_near_the_peak():
    accuracy = np.array([[0.5, 0.5, 0.5], [0.68, 0.5, 0.9], [0.69, 0.5, 0.6], [0.7, 0.5, 0.5]])
    assert first_reached(accuracy).tolist() == [1, 0, 1]


def test_a_curve_has_an_interval_at_every_size():
    rates = {0: 0.5, 50: 0.55, 500: 0.8, 2000: 0.82}
    found = curve("related", {size: scores(rate, seed=size) for size, rate in rates.items()})
    assert found.sizes == (0, 50, 500, 2000)
    assert all(i.low <= a <= i.high for a, i in zip(found.accuracy, found.intervals, strict=True))
    assert found.area_interval.low < found.area < found.area_interval.high
    assert found.enough in (500, 2000)
    assert found.enough_interval.low in found.sizes
    assert found.enough_interval.high in found.sizes


def test_a_flat_curve_needs_nothing():
    same = scores(0.5)
    found = curve("target", {0: same, 20: same})
    assert (found.enough, found.enough_interval.high) == (0, 0)
    assert found.area == pytest.approx(same.accuracy)
