"""What CropMix and AugMix draw for one image, whatever holds it: a tensor of a batch, or the bytes of a file.

Both give images and weights that sum to 1; their weighted sum is the mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

Picture = TypeVar("Picture")

MAX_DEPTH = 3
"""Changes of a chain of AugMix, at most."""


def draw_crops(
    crop: Callable[[float], Picture], count: int, scale: float, ratio: float, rng: np.random.Generator
) -> tuple[list[Picture], list[float]]:
    r"""Crops that CropMix blends (arXiv:2205.15955), and their weights.

    The areas from ``scale`` to 1 are cut into as many ranges as there are crops N, each crop draws its area from one.
    Crops are mixed one after the other in random order, with shares from :math:`\mathrm{Beta}(r / N, r / N)`.

    Args:
        crop: makes a crop with a share of the area.
        count: N.
        scale: smallest area.
        ratio: r.
        rng: source of every draw.
    """
    edges = np.linspace(scale, 1, count + 1)
    crops = [crop(rng.uniform(edges[i], edges[i + 1])) for i in rng.permutation(count)]
    weights = [1.0]
    for _ in range(1, count):
        share = rng.beta(ratio / count, ratio / count)
        weights = [*(share * weight for weight in weights), 1 - share]
    return crops, weights


def draw_chains(
    image: Picture, change: Callable[[Picture], Picture], width: int, alpha: float, rng: np.random.Generator
) -> tuple[list[Picture], list[float]]:
    r"""The image and chains of one to `MAX_DEPTH` changes, which AugMix blends (arXiv:1912.02781), and their weights.

    Weights of the chains are :math:`\mathrm{Dirichlet}(\alpha)`, that of their sum is :math:`\mathrm{Beta}(\alpha,
    \alpha)`.

    Args:
        image: as it is; not changed.
        change: draws and makes one change.
        width: chains.
        alpha: of both distributions.
        rng: source of every draw here.
    """
    images = [image]
    for _ in range(width):
        changed = image
        for _ in range(rng.integers(1, MAX_DEPTH + 1)):
            changed = change(changed)
        images.append(changed)
    weights = rng.dirichlet([alpha] * width)
    share = rng.beta(alpha, alpha)
    return images, [1 - share, *(share * weights).tolist()]
