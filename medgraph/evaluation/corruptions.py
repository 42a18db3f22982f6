"""Image corruptions of graded severity, deterministic by image.

Blur, brightness and additive noise with the three levels of SURE-VQA (arXiv:2411.19688), applied to images at the size
the model sees.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from medgraph.data.records import Image

Severity = Literal["low", "medium", "high"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
Corrupt = Callable[[Image, Severity, np.random.Generator], Image]

_BLUR_KERNEL = {"low": 5, "medium": 7, "high": 11}
_BRIGHTNESS = {"low": (1.1, 2.0), "medium": (2.5, 4.0), "high": (4.5, 6.0)}
_NOISE_MEAN = {"low": (0.0, 0.06), "medium": (0.09, 0.15), "high": (0.18, 0.25)}
_NOISE_SD = 0.1


def blur(image: Image, severity: Severity, rng: np.random.Generator) -> Image:
    """Gaussian blur with the standard deviation that OpenCV derives from the kernel width (5, 7 or 11 pixels)."""
    from scipy import ndimage

    width = _BLUR_KERNEL[severity]
    sigma = 0.3 * ((width - 1) * 0.5 - 1) + 0.8
    blurred = ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), radius=(width // 2, width // 2, 0))
    return _to_image(blurred / 255)


def brighten(image: Image, severity: Severity, rng: np.random.Generator) -> Image:
    """Intensities times a random factor of the severity's range, clipped."""
    return _to_image(image / 255 * rng.uniform(*_BRIGHTNESS[severity]))


def add_noise(image: Image, severity: Severity, rng: np.random.Generator) -> Image:
    """Gaussian noise of standard deviation 0.1 around a random mean of the severity's range (intensities in [0, 1])."""
    mean = rng.uniform(*_NOISE_MEAN[severity])
    return _to_image(image / 255 + rng.normal(mean, _NOISE_SD, size=image.shape))


CORRUPTIONS: dict[str, Corrupt] = {"blur": blur, "brightness": brighten, "noise": add_noise}


def corrupted(load: Callable[[str], Image], name: str, severity: Severity, seed: int = 0) -> Callable[[str], Image]:
    """Loader of corrupted images: the same image is corrupted in the same way each time, in any order.

    Args:
        load: returns the (H, W, 3) uint8 image of a name.
        name: one of `CORRUPTIONS`.
        severity: low, medium or high.
        seed: seed of strengths and noise, mixed with the name of the image.
    """

    def load_corrupted(image: str) -> Image:
        rng = np.random.default_rng((seed, zlib.crc32(f"{name} {severity} {image}".encode())))
        return CORRUPTIONS[name](load(image), severity, rng)

    return load_corrupted


def corrupt(image: Image, severity: Severity, rng: np.random.Generator, probability: float = 0.5) -> Image:
    """Apply each corruption with a probability, and at least one of them, as SURE-VQA does.

    Args:
        image: (H, W, 3) uint8.
        severity: low, medium or high.
        rng: source of choice and strength.
        probability: of each corruption, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    names = [name for name in CORRUPTIONS if rng.random() < probability]
    for name in names or [str(rng.choice(list(CORRUPTIONS)))]:
        image = CORRUPTIONS[name](image, severity, rng)
    return image


def _to_image(values: npt.NDArray[np.float64]) -> Image:
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
