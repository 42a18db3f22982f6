"""Changes of images that AugMix chains (the operations of its release, arXiv:1912.02781), and YOCO's jitter.

Images are (B, C, H, W) float in [0, 1] before and after, and a batch is changed in one way. A level from 0 to 10 says
how much; what an affine change brings in from outside is black.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Operation = Callable[[Tensor, float, np.random.Generator], Tensor]
"""Images, level and source of signs to images."""

MAX_LEVEL = 10
MAX_DEGREES, MAX_SHEAR, MAX_TRANSLATION = 30, 0.3, 1 / 3
"""At the highest level; the last one is a share of the side."""


def autocontrast(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Stretch every channel to [0, 1]."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def equalize(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Spread the 256 values of every channel to equal frequencies."""
    values, changed = _bytes(images).flatten(2), images.flatten(2).clone()
    for b, c in np.ndindex(values.shape[:2]):
        counts = values[b, c].bincount(minlength=256)
        step = int(counts.sum() - counts[values[b, c].max()]) // 255
        if step:
            before = counts.cumsum(0) - counts
            table = (before + step // 2) // step
            changed[b, c] = table[values[b, c]].clamp(max=255).to(images.dtype) / 255
    return changed.view_as(images)


def posterize(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Keep the highest 4 bits of every value, or fewer."""
    dropped = 4 + int(4 * level / MAX_LEVEL)
    return ((_bytes(images) >> dropped) << dropped).to(images.dtype) / 255


def solarize(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Invert the brightest values."""
    threshold = 256 - int(256 * level / MAX_LEVEL)
    return torch.where(_bytes(images) >= threshold, 1 - images, images)


def rotate(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Turn around the centre."""
    angle = np.deg2rad(int(_signed(MAX_DEGREES * level / MAX_LEVEL, rng)))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    y, x = (side / 2 for side in images.shape[-2:])
    return affine(images, (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y))


def shear_x(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Move rows against each other."""
    return affine(images, (1, _signed(MAX_SHEAR * level / MAX_LEVEL, rng), 0, 0, 1, 0))


def shear_y(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Move columns against each other."""
    return affine(images, (1, 0, 0, _signed(MAX_SHEAR * level / MAX_LEVEL, rng), 1, 0))


def translate_x(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Move by whole pixels to a side."""
    shift = int(_signed(MAX_TRANSLATION * images.shape[-1] * level / MAX_LEVEL, rng))
    return affine(images, (1, 0, shift, 0, 1, 0))


def translate_y(images: Tensor, level: float, rng: np.random.Generator) -> Tensor:
    """Move by whole pixels up or down."""
    shift = int(_signed(MAX_TRANSLATION * images.shape[-2] * level / MAX_LEVEL, rng))
    return affine(images, (1, 0, 0, 0, 1, shift))


OPERATIONS: tuple[Operation, ...] = (
    autocontrast, equalize, posterize, rotate, solarize, shear_x, shear_y, translate_x, translate_y,
)  # fmt: skip
"""Those of AugMix' release, which leaves out what the corruptions it is tested on are made of."""


def jitter(images: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Change brightness and contrast by factors from 1 − ``strength`` to 1 + ``strength``."""
    brightness, contrast = rng.uniform(1 - strength, 1 + strength, 2)
    brighter = (images * brightness).clamp(0, 1)
    mean = brighter.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, brighter, float(contrast)).clamp(0, 1)


def affine(images: Tensor, matrix: tuple[float, ...]) -> Tensor:
    """Resample bilinearly at (a x + b y + c, d x + e y + f) for matrix (a, b, c, d, e, f), x and y in pixels."""
    a, b, c, d, e, f = matrix
    height, width = images.shape[-2:]
    b, d = b * height / width, d * width / height
    theta = images.new_tensor([[a, b, a + b - 1 + 2 * c / width], [d, e, d + e - 1 + 2 * f / height]])
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _bytes(images: Tensor) -> Tensor:
    """Values as numbers from 0 to 255, int64."""
    return (255 * images).round().long()


def _signed(value: float, rng: np.random.Generator) -> float:
    return value if rng.random() < 0.5 else -value
