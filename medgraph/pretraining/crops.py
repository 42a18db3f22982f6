"""Views of an image: random crops that remember where they come from, mirrored, jittered and blurred.

Does not import torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import PIL.Image
from PIL import ImageEnhance, ImageFilter

from medgraph.data.records import Image
from medgraph.pretraining.options import ViewOptions

MAX_ASPECT = 4 / 3
MAX_BLUR = 1 / 112
"""Largest standard deviation of the blur in sides of a view: two pixels of 224 (SimCLR, arXiv:2002.05709)."""


@dataclass(frozen=True, slots=True)
class View:
    """A crop of an image.

    Attributes:
        pixels: (S, S, 3) uint8.
        box: left, top, right and bottom of the crop in [0, 1] of the image.
        flipped: whether the crop was mirrored afterwards.
    """

    pixels: Image
    box: tuple[float, float, float, float]
    flipped: bool


def draw_views(image: Image, side: int, options: ViewOptions, rng: np.random.Generator) -> list[View]:
    """Draw two large crops and the small ones.

    Args:
        image: (H, W, 3) uint8; not changed.
        side: S, side of a view in pixels.
        options: number and look of the crops.
        rng: source of randomness.

    Returns:
        2 + ``options.local_crops`` views, the large ones first.
    """
    areas = [(options.min_area, 1.0)] * 2 + [(options.min_local_area, options.min_area)] * options.local_crops
    return [draw_view(image, side, area, options, rng) for area in areas]


def draw_view(
    image: Image, side: int, area: tuple[float, float], options: ViewOptions, rng: np.random.Generator
) -> View:
    """Draw one crop.

    Args:
        image: (H, W, 3) uint8.
        side: S, side of the view in pixels.
        area: smallest and largest share of the image that it covers, in (0, 1].
        options: what is changed besides.
        rng: source of randomness.

    Returns:
        The view, (S, S, 3).
    """
    share = rng.uniform(*area)
    aspect = MAX_ASPECT ** rng.uniform(-1, 1)
    width, height = min(1.0, math.sqrt(share * aspect)), min(1.0, math.sqrt(share / aspect))
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    box = (left, top, left + width, top + height)
    rows, columns = image.shape[:2]
    view = PIL.Image.fromarray(image).resize(
        (side, side),
        PIL.Image.Resampling.BICUBIC,
        (box[0] * columns, box[1] * rows, min(1.0, box[2]) * columns, min(1.0, box[3]) * rows),
    )
    flipped = bool(rng.random() < options.flip)
    if flipped:
        view = view.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhance(view).enhance(1 + options.jitter * rng.uniform(-1, 1))
    if rng.random() < options.blur:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 1.0) * MAX_BLUR * side))
    return View(np.asarray(view), box, flipped)
