import numpy as np
import pytest

from medgraph.evaluation.corruptions import CORRUPTIONS, corrupt, corrupted


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


def test_an_image_is_corrupted_in_the_same_way_each_time_and_unlike_others(image):
    load = corrupted(lambda name: image, "noise", "low")
    assert np.array_equal(load("a"), load("a"))
    assert not np.array_equal(load("a"), load("b"))
    assert not np.array_equal(load("a"), corrupted(lambda name: image, "noise", "low", seed=1)("a"))
