import numpy as np
import pytest

from medgraph.evaluation.robustness import CORRUPTIONS, corrupt, hold_out, relative_robustness


@pytest.fixture
def image(rng):
    return rng.integers(0, 120, size=(24, 20, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_keep_the_format_and_grow_with_severity(name, image, rng):
    strength = []
    for severity in ("low", "medium", "high"):
        changed = CORRUPTIONS[name](image, severity, rng)
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        strength.append(np.abs(changed.astype(float) - image).mean())
    assert 0 < strength[0] < strength[1] < strength[2]


def test_blur_keeps_constant_images_and_colours_apart(rng):
    flat = np.full((16, 16, 3), [10, 100, 200], dtype=np.uint8)
    assert np.array_equal(CORRUPTIONS["blur"](flat, "high", rng), flat)


def test_at_least_one_corruption_is_applied(image):
    changed = corrupt(image, "low", np.random.default_rng(0), probability=0.0)
    assert not np.array_equal(changed, image)
    again = corrupt(image, "low", np.random.default_rng(0), probability=0.0)
    assert np.array_equal(changed, again)


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
