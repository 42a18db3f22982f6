import dataclasses

import numpy as np
import pytest
from PIL import Image

from medgraph.pretraining.crops import draw_view, draw_views
from medgraph.pretraining.options import ViewOptions

PLAIN = ViewOptions(flip=0.0, jitter=0.0, blur=0.0)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_the_box_says_where_a_view_comes_from(image):
    view = draw_view(image, 32, (0.2, 0.5), PLAIN, np.random.default_rng(1))
    left, top, right, bottom = view.box
    again = Image.fromarray(image).resize(
        (32, 32), Image.Resampling.BICUBIC, (left * 80, top * 60, right * 80, bottom * 60)
    )
    np.testing.assert_array_equal(view.pixels, np.asarray(again))
    mirrored = draw_view(image, 32, (0.2, 0.5), dataclasses.replace(PLAIN, flip=1.0), np.random.default_rng(1))
    assert mirrored.flipped
    assert mirrored.box == view.box
    np.testing.assert_array_equal(mirrored.pixels, view.pixels[:, ::-1])


def test_large_crops_come_first_and_cover_more_than_small_ones(image):
    options = ViewOptions(local_crops=3, min_area=0.5, min_local_area=0.1)
    for seed in range(20):
        views = draw_views(image, 16, options, np.random.default_rng(seed))
        areas = [(v.box[2] - v.box[0]) * (v.box[3] - v.box[1]) for v in views]
        assert len(views) == 5
        assert all(0 <= v.box[0] < v.box[2] <= 1 + 1e-9 and 0 <= v.box[1] < v.box[3] <= 1 + 1e-9 for v in views)
        assert all(area <= 0.5 + 1e-9 for area in areas[2:])
        assert all(area >= 0.4 for area in areas[:2])  # a box that an aspect would push out of the image loses area


def test_equal_draws_give_equal_views_and_others_differ(image):
    first, again, other = (draw_views(image, 16, ViewOptions(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        assert (a.box, a.flipped) == (b.box, b.flipped)
        np.testing.assert_array_equal(a.pixels, b.pixels)
        assert a.box != c.box
