"""How well masks agree: Dice coefficient and intersection over union.

Letters: N images, S side in pixels, K classes, the background first. Does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.statistics import Floats

Counts = npt.NDArray[np.int64]


def count_pixels(predicted: npt.ArrayLike, truth: npt.ArrayLike, num_classes: int) -> Counts:
    """Count the pixels of every image by their true class (rows) and the predicted one (columns).

    Args:
        predicted: (N, S, S) int in 0 … K-1.
        truth: (N, S, S) int in 0 … K-1.
        num_classes: K.

    Returns:
        (N, K, K).
    """
    said, true = np.asarray(predicted, np.int64), np.asarray(truth, np.int64)
    image = np.arange(len(true))[:, None, None]
    cells = (image * num_classes + true) * num_classes + said
    counts = np.bincount(cells.ravel(), minlength=len(true) * num_classes**2)
    return counts.reshape(-1, num_classes, num_classes)


def overlap(counts: Counts) -> tuple[Floats, Floats]:
    """Dice coefficient and intersection over union of every class, both NaN for classes that the truth lacks.

    Args:
        counts: (…, K, K), see `count_pixels`.

    Returns:
        Two (…, K).

    Example:
        >>> dice, iou = overlap(count_pixels([[[0, 1, 1]]], [[[0, 0, 1]]], 2))
        >>> dice.round(3).tolist(), iou.tolist()
        ([[0.667, 0.667]], [[0.5, 0.5]])
    """
    both = np.diagonal(counts, axis1=-2, axis2=-1)
    true, said = counts.sum(-1), counts.sum(-2)
    total = np.where(true > 0, true + said, math.nan)
    return 2 * both / total, both / (total - both)


def foreground_mean(values: Floats) -> Floats:
    """Mean over the classes that the truth has, without the background; NaN where there is none.

    Args:
        values: (…, K), see `overlap`.
    """
    known = ~np.isnan(values[..., 1:])
    number = np.where(known.any(-1), known.sum(-1), math.nan)
    return np.asarray(np.where(known, values[..., 1:], 0).sum(-1) / number)


def overlap_figures(counts: Counts, classes: Sequence[str]) -> dict[str, float]:
    """``dice`` and ``iou``, means over the classes without the background, then ``dice_<class>`` … of each.

    Args:
        counts: (N, K, K); overlap is that of the pixels of all images together.
        classes: K names.
    """
    both = dict(zip(("dice", "iou"), overlap(counts.sum(0)), strict=True))
    figures = {name: float(foreground_mean(values)) for name, values in both.items()}
    for number, known in enumerate(classes[1:], start=1):
        figures |= {f"{name}_{known}": float(values[number]) for name, values in both.items()}
    return figures
