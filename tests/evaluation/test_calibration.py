import math

import numpy as np
import pytest

from medgraph.evaluation.calibration import (
    calibrate,
    fit_temperature,
    option_probabilities,
    risk_coverage,
    verbalised_confidence,
)


@pytest.fixture
def answers(rng):
    """Confidences on a grid, so that bin edges and ties occur, and answers that are right as often as they say."""
    confidence = np.round(rng.random(400), 1)
    return confidence, (rng.random(400) < confidence).astype(float)


def test_figures_equal_slow_references(answers):
    confidence, correct = answers
    result = calibrate(confidence, correct)
    ece = 0.0
    for i in range(10):
        inside = [(i == 0 and c == 0) or i / 10 < c <= (i + 1) / 10 for c in confidence]
        mine = list(zip(confidence[inside], correct[inside], strict=True))
        if mine:
            ece += len(mine) / 400 * abs(np.mean([c for c, _ in mine]) - np.mean([r for _, r in mine]))
    wins = [(a > b) + (a == b) / 2 for a in confidence[correct == 1] for b in confidence[correct == 0]]
    assert result.ece == pytest.approx(ece)
    assert result.auroc == pytest.approx(np.mean(wins))
    assert result.brier == pytest.approx(np.mean((confidence - correct) ** 2))
    assert sum(b.n for b in result.bins) == result.n == 400


def test_bins_include_their_upper_edge():
    bins = calibrate([0.0, 0.5, 0.500001, 1.0], [0, 0, 1, 1], num_bins=2).bins
    assert [b.n for b in bins] == [2, 2]


def test_risk_falls_with_coverage_and_ends_at_the_error_rate(answers):
    coverage, risk = risk_coverage(*answers)
    assert risk[-1] == pytest.approx(1 - answers[1].mean())
    assert risk[100] < risk[-1]
    assert coverage[-1] == 1


def test_order_of_equally_confident_answers_does_not_matter():
    first, second = risk_coverage([0.5] * 4, [1, 1, 0, 0]), risk_coverage([0.5] * 4, [0, 0, 1, 1])
    assert np.allclose(first[1], second[1])
    assert np.allclose(first[1], 0.5)


def test_temperature_undoes_a_known_scale(rng):
    honest = rng.normal(size=(4000, 4)) * 2
    honest[::2, 3] = -np.inf
    truth = np.array([rng.choice(4, p=p) for p in option_probabilities(honest)])
    assert fit_temperature(honest * 3, truth) == pytest.approx(3, rel=0.1)
    assert option_probabilities(honest)[0, 3] == 0
    with pytest.raises(ValueError, match="finite score"):
        fit_temperature([[0.0, -math.inf]], [1])


def test_one_kind_of_answer_has_no_auroc_and_bad_input_is_named():
    assert math.isnan(calibrate([0.2, 0.9], [1, 1]).auroc)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 0.5 to 1.5"):
        calibrate([0.5, 1.5], [0, 1])
    with pytest.raises(ValueError, match="equal, non-zero lengths"):
        calibrate([], [])


@pytest.mark.parametrize(
    ("text", "value"), [("Confidence 100%", 1), ("confidence (0-100): 7", 0.07), ("confidence: 1", 1), ("no", None)]
)
def test_verbalised_confidence(text, value):
    assert verbalised_confidence(text) == value
