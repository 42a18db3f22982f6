"""MixUp and CutMix: batches in which images and their targets are blended in pairs, for classifiers and soft targets.

Letters: B batch, C channels, H and W height and width, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mixup(images: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    r"""Blend each image and its target with those of another (MixUp, arXiv:1710.09412).

    .. math:: \tilde x = \lambda x_i + (1 - \lambda) x_j, \quad \tilde y = \lambda y_i + (1 - \lambda) y_j,
        \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    Args:
        images: (B, C, H, W) uint8 or float.
        targets: (B, K) float: class probabilities, such as one-hot rows.
        alpha: above 0; 1 makes every share equally likely.
        rng: draws one share and one permutation for the batch.

    Returns:
        Images of the same type (uint8 rounded) and targets, whose rows keep their sums.

    Raises:
        ValueError: for alpha or shapes that do not fit.
    """
    share, partner = _draw(images, targets, alpha, rng)
    mixed = share * images.float() + (1 - share) * images[partner].float()
    mixed = mixed.round() if images.dtype == torch.uint8 else mixed
    return mixed.to(images.dtype), share * targets + (1 - share) * targets[partner]


def cutmix(images: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    r"""Paste a box of another image into each, and blend the targets by area (CutMix, arXiv:1905.04899).

    The box has the aspect of the image and area :math:`1 - \lambda`, its centre anywhere; targets are blended by the
    area that remains after clipping it to the image.

    Args:
        images: (B, C, H, W) of any type.
        targets: (B, K) float: class probabilities, such as one-hot rows.
        alpha: above 0.
        rng: draws one box and one permutation for the batch.

    Returns:
        Images and targets, whose rows keep their sums.

    Raises:
        ValueError: for alpha or shapes that do not fit.
    """
    share, partner = _draw(images, targets, alpha, rng)
    height, width = images.shape[-2:]
    rows, columns = (_interval(size, (1 - share) ** 0.5, rng) for size in (height, width))
    mixed = images.clone()
    mixed[..., rows, columns] = images[partner][..., rows, columns]
    share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return mixed, share * targets + (1 - share) * targets[partner]


def _draw(images: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[float, Tensor]:
    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: expected a number above 0")
    if images.ndim != 4 or targets.ndim != 2 or len(images) != len(targets) or not targets.is_floating_point():
        raise ValueError(f"images {tuple(images.shape)} and targets {tuple(targets.shape)} {targets.dtype}: expected "
                         "(B, C, H, W) and (B, K) probabilities; one-hot encode class numbers")  # fmt: skip
    return float(rng.beta(alpha, alpha)), torch.from_numpy(rng.permutation(len(images))).to(images.device)


def _interval(size: int, part: float, rng: np.random.Generator) -> slice:
    """An interval of ``part`` of the size around a random centre, clipped to the size."""
    half, centre = round(size * part) / 2, rng.uniform(0, size)
    return slice(max(0, round(centre - half)), min(size, round(centre + half)))
