import dataclasses
import itertools

import numpy as np
import pytest

from medgraph.evaluation.effects import Scores, effect_of, interval_of, interval_of_average, paired_p
from medgraph.evaluation.statistics import mcnemar


def scores(rates, questions=200, seed=0, repeats=1):
    """An arm with a chance of being right for each of its seeds."""
    rng = np.random.default_rng(seed)
    points = (rng.random((len(rates), questions)) < np.array(rates)[:, None]).astype(float)
    ids = tuple(f"q{i:03}" for i in range(questions))
    return Scores(points, ids, tuple(f"image{i // repeats}" for i in range(questions)))


def test_one_lucky_seed_is_not_enough():
    """Most of the difference comes from one seed of five: images alone would be sure of it."""
    lucky, control = scores([0.9, 0.42, 0.4, 0.41, 0.4], seed=1), scores([0.4] * 5, seed=2)
    effect = effect_of(lucky, control, "control")
    assert effect.mean > 0.08
    assert effect.low < 0
    one = Scores(lucky.points[:1], lucky.questions, lucky.images)
    first = Scores(control.points[:1], control.questions, control.images)
    assert effect_of(one, first, "control").low > 0.3


def test_questions_of_one_image_count_once():
    apart, together = ([scores([0.5] * 40, 200, s, repeats) for s in (1, 2)] for repeats in (1, 20))
    widths = []
    for arm, control in (apart, together):
        same = np.repeat(arm.points[:, ::20], 20, 1)  # questions of one image are right or wrong together
        arm = dataclasses.replace(arm, points=same)
        effect = effect_of(arm, control, "control")
        widths.append(effect.high - effect.low)
    assert widths[1] > 1.25 * widths[0]


def test_with_one_seed_the_interval_is_that_of_a_t_test_over_images():
    from scipy import stats

    points = scores([0.4], 60, seed=3).points
    interval = interval_of(points, [str(i) for i in range(60)])
    expected = stats.ttest_1samp(points[0], 0).confidence_interval()
    np.testing.assert_allclose((interval.low, interval.high), (expected.low, expected.high))
    by_image = interval_of(np.repeat(points, 3, 1), [str(i // 3) for i in range(180)])
    np.testing.assert_allclose((by_image.low, by_image.high), (interval.low, interval.high))


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_over_seeds_and_images_cover_the_truth(seeds):
    """Differences with a part of the seed, of the image and of both; 400 studies of three rows, truth zero."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        luck = rng.normal(0, 0.05, (seeds, 1))
        rows = [
            (luck + rng.normal(0, 0.4, (1, 50)) + rng.normal(0, 0.5, (seeds, 50)), [f"{row}/{i}" for i in range(50)])
            for row in range(3)
        ]
        interval = interval_of_average(rows)
        covered += interval.low < 0 < interval.high
    assert 0.93 < covered / 400 < 0.995


def test_the_average_of_rows_is_surer_than_a_row_unless_they_are_the_same():
    def width(rows):
        interval = interval_of_average(rows)
        return interval.high - interval.low

    rows = [(scores([0.5] * 8, 100, seed).points, [f"{seed}/{i}" for i in range(100)]) for seed in range(4)]
    assert width(rows) < 0.7 * min(width([row]) for row in rows)
    assert width(rows[:1] * 4) == pytest.approx(width(rows[:1]))


def test_the_paired_test_is_mcnemars_with_one_seed():
    for seed in range(5):
        one, other = scores([0.5], 40, seed), scores([0.35], 40, seed + 10)
        expected = mcnemar(other.points[0], one.points[0])
        assert paired_p(one.points - other.points, one.images) == pytest.approx(expected)


@pytest.mark.parametrize("boxes", [False, True])
def test_the_paired_test_counts_all_signs(boxes):
    rng = np.random.default_rng(1)
    points = rng.integers(-1, 2, (3, 16)) / (4 if boxes else 1)
    images = [f"i{i // 2}" for i in range(16)]
    sums = points.sum(0).reshape(8, 2).sum(1)
    signs = np.array(list(itertools.product([-1, 1], repeat=8)))
    expected = np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9)
    assert paired_p(points, images) == pytest.approx(expected)


def test_a_constant_guess_is_no_better_than_guesses_that_vary():
    rng = np.random.default_rng(0)
    answers = np.arange(1500) % 3
    constant = np.repeat((answers == 0)[None], 3, 0).astype(float)
    varied = (rng.integers(0, 3, (3, 1500)) == answers).astype(float)
    assert mcnemar(varied.mean(0), constant.mean(0)) < 0.01  # what most seeds got right
    assert paired_p(constant - varied, [str(i) for i in range(1500)]) > 0.1


def test_arms_with_other_seeds_are_refused():
    with pytest.raises(ValueError, match="arms need the same ones"):
        effect_of(scores([0.5]), scores([0.5, 0.5]), "control")
