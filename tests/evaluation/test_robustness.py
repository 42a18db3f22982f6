import numpy as np
import pytest

from medgraph.evaluation.robustness import corruption_results, hold_out, relative_robustness


def test_corrupted_images_are_compared_question_by_question(make_prediction):
    before = [make_prediction(str(i), prediction="nodule" if i % 10 < 8 else "x") for i in range(100)]
    after = [
        make_prediction(str(i), control="blur/low", prediction="nodule" if i % 10 < 6 else "x") for i in range(100)
    ]
    extra = [make_prediction("other", control="blur/low")]
    (result,) = corruption_results([*before, make_prediction("0", control="no_image")], [*after, *extra], resamples=200)
    assert (result.split, result.corruption, result.severity, result.n) == ("test", "blur", "low", 100)
    assert result.figures["ratio"].value == pytest.approx(0.75)
    assert result.figures["difference"].low < -0.2 < result.figures["difference"].high < 0
    unpaired = relative_robustness(before, after, np.random.default_rng(0), 2000).interval
    paired = result.figures["ratio"]
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_relative_robustness(make_prediction, rng):
    before = [make_prediction(str(i), prediction="nodule" if i % 10 < 8 else "x") for i in range(200)]
    after = [make_prediction(str(i), prediction="nodule" if i % 10 < 6 else "x") for i in range(200)]
    result = relative_robustness(before, after, rng, 2000)
    assert (result.accuracy, result.shifted, result.ratio) == pytest.approx((0.8, 0.6, 0.75))
    assert 0.6 < result.interval.low < 0.75 < result.interval.high < 0.9
    wrong = [make_prediction("1", prediction="x"), make_prediction("2", prediction="x")]
    assert np.isnan(relative_robustness(wrong, after, rng, 50).ratio)
    with pytest.raises(ValueError, match="both sides, got 0 and 2"):
        relative_robustness([], wrong, rng)


def test_hold_out_splits_by_a_value(make_prediction):
    predictions = [make_prediction("1", triplet="CT/Lung/x"), make_prediction("2", triplet="MRI/Lung/x")]
    outside, inside = hold_out(predictions, lambda p: p.triplet.split("/")[0], "MRI")
    assert ([p.id for p in outside], [p.id for p in inside]) == (["1"], ["2"])
    with pytest.raises(ValueError, match="cannot hold out 'US': 0 of 2 questions have it; values: CT, MRI"):
        hold_out(predictions, lambda p: p.triplet.split("/")[0], "US")
