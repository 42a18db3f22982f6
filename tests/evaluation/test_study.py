import itertools
import math

import numpy as np
import pytest

from medgraph.evaluation.plateau import CurvePoint
from medgraph.evaluation.predictions import PredictionWriter
from medgraph.evaluation.results import summarise
from medgraph.evaluation.study import StudyRun, compare_arms


@pytest.fixture
def make_run(make_prediction, tmp_path):
    numbers = itertools.count()

    def make(arm: str, seed: int, right: int, **values) -> StudyRun:
        """A run with `right` of 50 questions right, the choice of which depends on the seed."""
        hits = set(np.random.default_rng(seed).permutation(50)[:right].tolist())
        lines = [make_prediction(str(i), prediction="nodule" if i in hits else "cyst") for i in range(50)]
        path = tmp_path / f"{arm}-{seed}-{next(numbers)}.jsonl"
        with PredictionWriter(path) as writer:
            writer.write(lines)
        results = summarise(lines, resamples=100)
        return StudyRun(arm=arm, seed=seed, results=results, predictions=path, **values)

    return make


def test_arms_are_paired_by_seed(make_run):
    runs = [make_run("a", seed, right) for seed, right in [(2, 34), (0, 30), (1, 32)]]
    runs += [make_run("b", seed, right) for seed, right in [(0, 33), (1, 34), (2, 38), (7, 10)]]
    study = compare_arms(runs, "a", resamples=200)
    first, second = study.rows["test"]
    assert first.versus is None
    assert second.versus is not None
    assert second.versus.mean == pytest.approx(np.mean([3, 2, 4]) / 50)
    assert second.versus.n == 3, "seed 7 has no partner"
    assert second.seeds == (0, 1, 2, 7)
    assert second.over_images.low < second.versus.mean < second.over_images.high
    assert first.sd == pytest.approx(0.04)


def test_holm_counts_the_arms_of_a_split(make_run):
    runs = [make_run(arm, s, 25 + gain * (1 + s % 2)) for arm, gain in [("a", 0), ("b", 3), ("c", 2)] for s in range(4)]
    _, b, c = compare_arms(runs, "a", resamples=50).rows["test"]
    assert b.p_holm == pytest.approx(2 * min(b.versus.p, c.versus.p))


def test_what_is_missing_stays_missing(make_run):
    alone = [make_run("a", 0, 30), make_run("b", 1, 40, seconds=12.0, steps=100)]
    study = compare_arms(alone, "a", resamples=50)
    assert study.rows["test"][1].versus is None
    assert math.isnan(study.compute["a"].seconds)
    assert (study.compute["b"].seconds, study.compute["b"].steps) == (12.0, 100)
    assert study.plateaus == {}


def test_plateau_is_judged_on_the_mean_of_the_seeds(make_run):
    def noisy(sign: int) -> tuple[CurvePoint, ...]:
        return tuple(CurvePoint(i, 0.8 + sign * 0.05 * (-1) ** i, 500) for i in range(16))

    single = compare_arms([make_run("a", 0, 30, curve=noisy(1))], "a")
    both = compare_arms([make_run("a", 0, 30, curve=noisy(1)), make_run("a", 1, 30, curve=noisy(-1))], "a")
    assert single.plateaus["a"].verdict == "undecided"
    assert both.plateaus["a"].verdict == "plateau"


def test_errors(make_run):
    with pytest.raises(ValueError, match="two runs of arm 'a' with seed 0"):
        compare_arms([make_run("a", 0, 1), make_run("a", 0, 2)], "a")
    with pytest.raises(ValueError, match="no run of the reference arm 'z'; there are a"):
        compare_arms([make_run("a", 0, 1)], "z")
