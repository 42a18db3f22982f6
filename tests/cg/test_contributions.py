import numpy as np
import pytest

from medgraph.cg.contributions import FEATURES, FULL, features, fit, published_prior
from medgraph.cg.published import published_rows

NOTHING, MODALITY, AREA, TASK = map(frozenset, ([], ["modality"], ["area"], ["task"]))
SETS = [[NOTHING], [MODALITY], [AREA], [TASK], [MODALITY | AREA], [MODALITY | TASK], [AREA | TASK],
        [MODALITY | AREA, MODALITY | TASK], [MODALITY | TASK, AREA | TASK], [MODALITY, AREA, TASK]]  # fmt: skip
TRUE = np.array([1.0, 1.0, 3.0, 14.0, 0.0, 0.0, 0.0, 6.0])
"""Contributions of a made-up model: the task tells."""


def outcomes(targets, repeats, noise=2.0, spread=3.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = [(features(s), t) for t in range(targets) for s in SETS for _ in range(repeats)]
    deviation = rng.normal(0, spread, targets)
    x = np.array([row for row, _ in rows])
    return x, x @ TRUE + deviation[[t for _, t in rows]] + rng.normal(0, noise, len(rows)), [str(t) for _, t in rows]


def test_features_are_shares_of_the_images_scaled_by_their_number():
    found = dict(zip(FEATURES, features([MODALITY | AREA, TASK], [300, 100]), strict=True))
    scale = np.log1p(400) / np.log1p(FULL)
    assert found == {
        "trained at all": pytest.approx(scale), "modality": pytest.approx(0.75 * scale),
        "area": pytest.approx(0.75 * scale), "task": pytest.approx(0.25 * scale),
        "modality+area": pytest.approx(0.75 * scale), "modality+task": 0, "area+task": 0,
        "all elements together": pytest.approx(scale),
    }  # fmt: skip
    assert features([NOTHING], [FULL])[0] == pytest.approx(1)
    assert not features([MODALITY], [0]).any()


def test_known_contributions_are_found_and_put_sets_in_the_right_order():
    x, gains, targets = outcomes(targets=8, repeats=3)
    learned = fit(x, gains, targets, published_prior(), "new")
    expected = [learned.expect(features(s)) for s in SETS]
    truth = [features(s) @ TRUE for s in SETS]
    assert [one.mean for one in expected] == pytest.approx(truth, abs=3)
    assert max(SETS[1:4], key=lambda s: learned.expect(features(s)).mean) == [TASK]


def test_intervals_contain_the_truth_as_often_as_they_say():
    """Over repetitions with few targets, for a target without runs."""
    rng, inside = np.random.default_rng(0), []
    for seed in range(12):
        x, gains, targets = outcomes(targets=4, repeats=1, seed=seed)
        learned = fit(x, gains, targets, published_prior(), "new")
        deviation = rng.normal(0, 3.0)
        expected = [(learned.expect(features(s), "new"), features(s) @ TRUE + deviation) for s in SETS[-3:]]
        inside += [one.low < truth < one.high for one, truth in expected]
    assert np.mean(inside) > 0.85


def test_the_posterior_is_that_of_the_textbook():
    """One level each, against generalised least squares with the full covariance of rows."""
    rng = np.random.default_rng(0)
    x, gains, targets = rng.normal(size=(12, len(FEATURES))), rng.normal(size=12), [str(i % 3) for i in range(12)]
    mean, spread = rng.normal(size=len(FEATURES)), 4 * np.eye(len(FEATURES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgraph.cg.contributions.LEVELS", (2.0,))
        learned = fit(x, gains, targets, (mean, spread), "0")
    same = np.array([[a == b for b in targets] for a in targets])
    rows = x @ spread @ x.T + 4 * same + 4 * np.eye(12)
    expected = mean + spread @ x.T @ np.linalg.solve(rows, gains - x @ mean)
    np.testing.assert_allclose(learned.mean[: len(FEATURES)], expected, atol=1e-9)
    covariance = spread - spread @ x.T @ np.linalg.solve(rows, x @ spread)
    np.testing.assert_allclose(learned.covariance[: len(FEATURES), : len(FEATURES)], covariance, atol=1e-9)


def test_without_runs_it_is_the_prior_and_few_runs_move_it_little():
    prior = published_prior()
    nothing = fit(np.zeros((0, len(FEATURES))), np.zeros(0), [], prior, "new")
    np.testing.assert_allclose(nothing.mean[: len(FEATURES)], prior[0], atol=1e-9)
    moved, widths = [], []
    for repeats, targets in ((1, 1), (3, 8)):
        x, gains, names = outcomes(targets, repeats)
        rows = slice(3, 4) if repeats == 1 else slice(None)  # one run on the task
        learned = fit(x[rows], gains[rows], names[rows], prior, "new").expect(np.eye(len(FEATURES))[3])
        moved.append(abs(learned.mean - prior[0][3]))
        widths.append(learned.high - learned.low)
    assert moved[0] < 0.4 * moved[1]
    assert widths[0] > 2 * widths[1]


def test_a_target_with_runs_is_predicted_better_than_a_new_one():
    x, gains, targets = outcomes(targets=4, repeats=2, spread=10.0)
    learned = fit(x, gains, targets, published_prior(), "new")
    known, new = learned.expect(features([TASK]), "1"), learned.expect(features([TASK]), "new")
    assert known.high - known.low < 0.7 * (new.high - new.low)


def test_the_published_rows_say_that_all_elements_together_help():
    """And that unrelated subsets hardly do: Baseline+ is 1.5 points above the untrained model on average."""
    mean, covariance = published_prior()
    by_name = dict(zip(FEATURES, mean, strict=True))
    assert max(by_name, key=lambda name: by_name[name]) == "all elements together"
    rows = [row for row in published_rows() if row.baseline_plus is not None]
    average = np.mean([row.baseline_plus - row.zero_shot for row in rows if row.baseline_plus is not None])
    assert by_name["trained at all"] == pytest.approx(average, abs=2)
    assert (np.diag(covariance) >= 25).all()
