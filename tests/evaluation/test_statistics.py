import itertools
import math

import numpy as np
import pytest
from scipy import stats

from medgraph.evaluation import statistics as st

COVERAGE = (0.93, 0.97)


def test_wilson_solves_its_defining_equation():
    z = stats.norm.ppf(0.975)
    for n, k in [(10, 0), (10, 3), (50, 50), (451, 200)]:
        interval = st.wilson(k, n)
        for p in (interval.low, interval.high):
            if 0 < p < 1:
                assert abs(k / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), rel=1e-6)
    with pytest.raises(ValueError, match="got 3 of 2"):
        st.wilson(3, 2)


def test_bootstrap_resamples_images_not_questions(rng):
    scores = np.tile([1.0, 0.0], 200)
    alone = st.cluster_bootstrap(scores, [str(i) for i in range(400)], rng)
    repeated = st.cluster_bootstrap(np.repeat([1.0, 0.0], 200), np.repeat(np.arange(40), 10).astype(str).tolist(), rng)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(400), rel=0.05)
    assert repeated.high - repeated.low == pytest.approx((alone.high - alone.low) * math.sqrt(10), rel=0.1)


def test_bootstrap_depends_on_nothing_but_data_and_generator():
    def run() -> st.Interval:
        return st.cluster_bootstrap([1, 0, 1, 1], ["a", "b", "c", "d"], np.random.default_rng(3), 500)

    assert run() == run()
    lonely = st.cluster_bootstrap([1, 0], ["a", "a"], np.random.default_rng(0))
    assert math.isnan(lonely.low)


def test_mcnemar_equals_enumeration():
    first, second = np.array([1, 1, 1, 0, 0, 0, 0, 0, 1]), np.array([1, 0, 0, 1, 1, 1, 1, 1, 1])
    plus, n = 5, 7
    outcomes = [sum(flips) for flips in itertools.product((0, 1), repeat=n)]
    expected = np.mean([abs(o - n / 2) >= abs(plus - n / 2) for o in outcomes])
    assert st.mcnemar(first, second) == pytest.approx(expected)
    assert st.mcnemar(first, first) == 1


def test_paired_bootstrap_is_narrower_than_two_unpaired_ones(rng):
    first = rng.random(300) < 0.6
    second = first ^ (rng.random(300) < 0.05)
    images = [str(i // 3) for i in range(300)]
    paired = st.paired_bootstrap(first, second, images, rng)
    single = st.cluster_bootstrap(first, images, rng)
    assert paired.mean == pytest.approx(second.mean() - first.mean())
    assert paired.high - paired.low < 0.6 * (single.high - single.low)
    assert paired.p == st.mcnemar(first, second)
    with pytest.raises(ValueError, match="equal lengths"):
        st.paired_bootstrap([1], [1, 0], ["a"], rng)


def test_paired_over_seeds_equals_scipy():
    first, second = [0.70, 0.72, 0.69, 0.75], [0.74, 0.73, 0.75, 0.76]
    result = st.paired_over_seeds(first, second)
    reference = stats.ttest_rel(second, first)
    interval = reference.confidence_interval(0.95)
    assert result.p == pytest.approx(reference.pvalue)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert result.p_sign == pytest.approx(2 * 0.5**4)


def test_one_seed_or_equal_differences_give_no_test():
    for first, second in [([0.5], [0.7]), ([0.5, 0.25], [0.625, 0.375])]:
        result = st.paired_over_seeds(first, second)
        assert result.mean == pytest.approx(second[0] - first[0])
        assert math.isnan(result.p)
        assert math.isnan(result.low)
    with pytest.raises(ValueError, match="got 1 and 2"):
        st.paired_over_seeds([1], [1, 2])


def test_holm_by_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    order = np.argsort(p)
    expected, running = np.empty(4), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1, (4 - rank) * p[i]))
        expected[i] = running
    assert st.holm(p) == pytest.approx(expected)
    assert st.holm([]) == []


def test_detectable_difference_has_the_promised_power(rng):
    n, disagreement = 400, 0.2
    delta = st.detectable_difference(n, disagreement)
    wins = rng.multinomial(n, [(disagreement + delta) / 2, (disagreement - delta) / 2, 1 - disagreement], size=1500)
    found = np.mean([stats.binomtest(int(a), int(a + b)).pvalue < 0.05 for a, b, _ in wins])
    assert found == pytest.approx(0.8, abs=0.05)
    assert st.detectable_difference(5, 0.2) == 0.2


def _clustered(rng: np.random.Generator, images: int, questions: int, p: float) -> tuple[np.ndarray, list[str]]:
    """Scores whose images differ in difficulty: Beta-binomial with mean p and intra-image correlation 1/4."""
    difficulty = rng.beta(3 * p, 3 * (1 - p), size=images)
    scores = (rng.random((images, questions)) < difficulty[:, None]).astype(float).ravel()
    return scores, np.repeat(np.arange(images), questions).astype(str).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("images", "p"), [(50, 0.5), (50, 0.8), (150, 0.3), (150, 0.9)])
def test_coverage_of_the_image_bootstrap(images, p):
    rng = np.random.default_rng(1)
    hits = [st.cluster_bootstrap(*_clustered(rng, images, 3, p), rng, resamples=1000).contains(p) for _ in range(2000)]
    assert COVERAGE[0] <= np.mean(hits) <= COVERAGE[1]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p"), [(50, 0.5), (200, 0.8), (451, 0.3)])
def test_coverage_of_wilson(n, p):
    k = np.random.default_rng(2).binomial(n, p, size=4000)
    intervals = {int(i): st.wilson(int(i), n) for i in np.unique(k)}
    assert COVERAGE[0] <= np.mean([intervals[int(i)].contains(p) for i in k]) <= COVERAGE[1]


@pytest.mark.slow
def test_coverage_of_the_paired_bootstrap():
    rng, hits = np.random.default_rng(3), []
    for _ in range(2000):
        difficulty = np.repeat(rng.beta(2, 2, size=100), 3)
        images = np.repeat(np.arange(100), 3).astype(str).tolist()
        noise = rng.random(300)
        second = np.where(rng.random(300) < 0.3, rng.random(300), noise)  # shares most of its luck with the first
        delta = st.paired_bootstrap(noise < difficulty, second < difficulty * 0.9, images, rng, resamples=1000)
        hits.append(delta.low <= -0.05 <= delta.high)
    assert COVERAGE[0] <= np.mean(hits) <= COVERAGE[1]


@pytest.mark.slow
def test_coverage_and_level_over_seeds():
    rng = np.random.default_rng(4)
    results = [st.paired_over_seeds(*rng.normal([[0.7], [0.72]], 0.02, size=(2, 5)).tolist()) for _ in range(3000)]
    assert COVERAGE[0] <= np.mean([r.low <= 0.02 <= r.high for r in results]) <= COVERAGE[1]
