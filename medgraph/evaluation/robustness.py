"""Does accuracy survive a shift? Image corruptions of graded severity, held-out metadata, relative robustness.

Severities and ranges follow SURE-VQA (arXiv:2411.19688): Gaussian blur, brightness and additive noise, three levels
each. Relative robustness is shifted accuracy over unshifted accuracy; 1 means that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medgraph.data.records import Image
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.statistics import RESAMPLES, Interval, resampled_means

Severity = Literal["low", "medium", "high"]
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


def corrupt(image: Image, severity: Severity, rng: np.random.Generator, probability: float = 0.5) -> Image:
    """Apply each corruption with a probability, and at least one of them.

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


@dataclass(frozen=True, slots=True)
class Robustness:
    """Accuracy without and with a shift.

    Attributes:
        accuracy: without.
        shifted: with.
        ratio: shifted over unshifted accuracy; NaN where the latter is 0.
        interval: of the ratio, images of both sides resampled independently.
    """

    accuracy: float
    shifted: float
    ratio: float
    interval: Interval


def relative_robustness(
    unshifted: Sequence[Prediction],
    shifted: Sequence[Prediction],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Robustness:
    """Compare answers to unshifted and shifted questions of different images.

    Raises:
        ValueError: if a side is empty.
    """
    if not unshifted or not shifted:
        raise ValueError(f"robustness needs questions on both sides, got {len(unshifted)} and {len(shifted)}")
    before, after = (_means(side, rng, resamples) for side in (unshifted, shifted))
    accuracy, lower = (float(np.mean([p.score for p in side])) for side in (unshifted, shifted))
    ratios = after[before > 0] / before[before > 0]
    ends = np.quantile(ratios, [0.025, 0.975]) if accuracy else (np.nan, np.nan)
    return Robustness(
        accuracy, lower, lower / accuracy if accuracy else np.nan, Interval(float(ends[0]), float(ends[1]))
    )


def hold_out(
    predictions: Sequence[Prediction], value_of: Callable[[Prediction], str], value: str
) -> tuple[list[Prediction], list[Prediction]]:
    """Split by a metadata value: everything else, and the held-out value.

    Args:
        predictions: of one split and control.
        value_of: reads the metadata of a prediction, such as ``lambda p: p.triplet.split("/")[0]`` for the modality.
        value: the value held out.

    Raises:
        ValueError: naming the values there are if nothing or everything has this one.
    """
    inside = [p for p in predictions if value_of(p) == value]
    outside = [p for p in predictions if value_of(p) != value]
    if not inside or not outside:
        known = ", ".join(sorted({value_of(p) for p in predictions}))
        raise ValueError(
            f"cannot hold out {value!r}: {len(inside)} of {len(predictions)} questions have it; values: {known}"
        )
    return outside, inside


def _means(side: Sequence[Prediction], rng: np.random.Generator, resamples: int) -> npt.NDArray[np.float64]:
    return resampled_means([p.score for p in side], [p.image_id for p in side], rng, resamples)


def _to_image(values: npt.NDArray[np.float64]) -> Image:
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
