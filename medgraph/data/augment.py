"""Augmentation of training images: a function of the image, the names and (seed, epoch, index), so that runs resume.

Images are (H, W, 3) uint8 before and after. All but ``hflip`` leave what a text says about an image true: no
classes are mixed, and left stays left. `medgraph.augment` mixes whole batches, for classifiers, on their device.
CropMix, AugMix and YOCO are in both: there they chain, crop and mirror as published, which changes sides, shape and
density. What CropMix and AugMix draw is written once, in `medgraph.augment.draws`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import PIL.Image

from medgraph.augment.draws import draw_chains, draw_crops
from medgraph.config.errors import ConfigError, suggest
from medgraph.data.records import Image

Transform = Callable[[Image, np.random.Generator], Image]

MAX_SHIFT, MAX_DEGREES, MAX_GAIN = 0.06, 10.0, 1.25
CHAINS = 3
CROPS, SMALLEST_CROP = 2, 0.4

_STREAM = 1
"""Apart from the draws that a data set makes with the same seed, epoch and index."""


def augment(image: Image, names: Sequence[str], key: tuple[int, int, int]) -> Image:
    """Apply augmentations one after the other.

    Args:
        image: (H, W, 3) uint8; not changed.
        names: keys of `AUGMENTATIONS`, in order; none gives the image itself.
        key: seed, epoch and position of the sample; equal keys give equal images.

    Returns:
        (H, W, 3) uint8.
    """
    if not names:
        return image
    rng = np.random.default_rng((*key, _STREAM))
    for name in names:
        image = AUGMENTATIONS[name](image, rng)
    return image


def check_augmentations(names: Sequence[str]) -> None:
    """Refuse unknown names, and those that mix the classes of two images.

    Raises:
        ConfigError: naming what is accepted.
    """
    for name in names:
        if name in MIXING:
            raise ConfigError(f"data.augment={name}: it blends the targets of two images, and answers in words have no "
                              "blend; it is for classifiers (medgraph.augment). For a language model take "
                              f"{', '.join(list(AUGMENTATIONS)[:-1])}")  # fmt: skip
        if name not in AUGMENTATIONS:
            raise ConfigError(f"data.augment={name}: no such augmentation{suggest(name, AUGMENTATIONS)}")


def shift(image: Image, rng: np.random.Generator) -> Image:
    """Move by at most `MAX_SHIFT` of the side; what enters is black."""
    x, y = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * image.shape[1::-1]
    return _affine(image, (1, 0, x, 0, 1, y))


def rotate(image: Image, rng: np.random.Generator) -> Image:
    """Turn by at most `MAX_DEGREES` around the centre; what enters is black."""
    angle = np.deg2rad(rng.uniform(-MAX_DEGREES, MAX_DEGREES))
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    return _affine(image, (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y))


def intensity(image: Image, rng: np.random.Generator) -> Image:
    """Change contrast around mid-grey, and gamma, each by a factor of at most `MAX_GAIN`."""
    gain, gamma = MAX_GAIN ** rng.uniform(-1, 1, 2)
    levels = np.clip(0.5 + gain * ((np.arange(256) / 255) ** gamma - 0.5), 0, 1)
    return np.rint(255 * levels).astype(np.uint8)[image]


def cropmix(image: Image, rng: np.random.Generator) -> Image:
    """Blend `CROPS` crops of the same image, at any share (CropMix, arXiv:2205.15955); their aspect stays."""
    return _blend(*draw_crops(lambda area: _crop(image, area, rng), CROPS, SMALLEST_CROP, ratio=CROPS, rng=rng))


def yoco(image: Image, rng: np.random.Generator) -> Image:
    """Cut into halves along a random axis and change each on its own (YOCO, arXiv:2201.12078)."""
    axis = int(rng.integers(2))
    return np.concatenate([_random_step(half, rng) for half in np.array_split(image, 2, axis)], axis)


def augmix(image: Image, rng: np.random.Generator) -> Image:
    """Blend `CHAINS` chains of changes with the image (AugMix, arXiv:1912.02781, without its loss)."""
    return _blend(*draw_chains(image, lambda changed: _random_step(changed, rng), CHAINS, 1.0, rng))


def hflip(image: Image, rng: np.random.Generator) -> Image:
    """Mirror every other image. Left becomes right, in the image but not in the text."""
    return image[:, ::-1].copy() if rng.random() < 0.5 else image


AUGMENTATIONS: dict[str, Transform] = {
    "shift": shift,
    "rotate": rotate,
    "intensity": intensity,
    "cropmix": cropmix,
    "yoco": yoco,
    "augmix": augmix,
    "hflip": hflip,
}
"""By name, the one that makes texts about sides wrong last."""

MIXING = ("mixup", "cutmix", "snapmix")
"""Names that `medgraph.augment` has and training on texts refuses."""


def _random_step(image: Image, rng: np.random.Generator) -> Image:
    return (shift, rotate, intensity)[rng.integers(3)](image, rng)


def _affine(image: Image, matrix: tuple[float, ...]) -> Image:
    """Resample at (a x + b y + c, d x + e y + f) for matrix (a, b, c, d, e, f), bilinearly."""
    changed = PIL.Image.fromarray(image).transform(
        (image.shape[1], image.shape[0]), PIL.Image.Transform.AFFINE, matrix, PIL.Image.Resampling.BILINEAR
    )
    return np.array(changed)


def _crop(image: Image, area: float, rng: np.random.Generator) -> Image:
    """A random crop with a share of the area and the same aspect, resized to the size of the image."""
    height, width = image.shape[:2]
    w, h = width * area**0.5, height * area**0.5
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC, (x, y, x + w, y + h))
    return np.asarray(resized)


def _blend(images: Sequence[Image], weights: Sequence[float]) -> Image:
    """Weighted sum, rounded; the weights sum to 1."""
    return np.rint(np.tensordot(weights, np.stack(images).astype(np.float32), 1)).clip(0, 255).astype(np.uint8)
