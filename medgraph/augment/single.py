"""Mixes of an image with itself, which leave its label as it is: AugMix, CropMix, YOCO.

Letters: B batch, C channels, H and W height and width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.augment.base import Maps, Mix, soft_cross_entropy
from medgraph.augment.draws import draw_chains, draw_crops
from medgraph.augment.operations import OPERATIONS, jitter

ASPECTS = (3 / 4, 4 / 3)
"""Width by height of the crops of CropMix, before they are resized."""


@dataclass
class AugMix(Mix):
    r"""Blend chains of changes with the image, and ask for equal predictions (AugMix, arXiv:1912.02781).

    .. math:: \tilde x = (1 - m)\, x + m \sum_i w_i\, \mathrm{chain}_i(x), \qquad w \sim \mathrm{Dirichlet}(\alpha),
        \quad m \sim \mathrm{Beta}(\alpha, \alpha)

    A chain is one to three of `medgraph.augment.operations.OPERATIONS`. A batch becomes the images as they are and two
    versions; the loss is :math:`L(p, y) + \lambda\, \mathrm{JS}(p, \tilde p_1, \tilde p_2)`, so that a step costs
    three times as much. Without the second term there is one version, and nothing else.
    """

    name: str = "augmix"
    width: int = 3
    """Chains an image."""
    severity: float = 3.0
    """Highest level of a change, up to 10; each draws one from 0.1 up."""
    alpha: float = 1.0
    """Of the Dirichlet and Beta distributions."""
    consistency: float = 12.0
    """Weight λ of the Jensen-Shannon divergence; 0: without it."""

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        if not self.consistency:
            return self.blend(images, rng), targets
        return torch.cat([images, self.blend(images, rng), self.blend(images, rng)]), targets.repeat(3, 1)

    def blend(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """One version of each image."""
        change = partial(self.change, rng=rng)
        return torch.cat([blend(*draw_chains(image, change, self.width, self.alpha, rng)) for image in images.split(1)])

    def change(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """One change of a (1, C, H, W) image."""
        operation = OPERATIONS[rng.integers(len(OPERATIONS))]
        return operation(image, rng.uniform(0.1, self.severity), rng)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of the images as they are, and the divergence of the three predictions."""
        if not self.consistency:
            return soft_cross_entropy(logits, targets)
        size = len(logits) // 3
        plain = soft_cross_entropy(logits[:size], targets[:size])
        return plain + self.consistency * jensen_shannon(logits.unflatten(0, (3, size)))


@dataclass
class CropMix(Mix):
    r"""Blend crops of the same image at several scales (CropMix, arXiv:2205.15955).

    The range of areas from ``scale`` to 1 is cut into as many parts as there are crops, each draws its area from one
    part; resized to the size of the image they are mixed one after the other in random order, with shares from
    :math:`\mathrm{Beta}(r / N, r / N)`.
    """

    name: str = "cropmix"
    crops: int = 2
    """Crops N an image; for ImageNet the paper draws 2 to 4."""
    scale: float = 0.5
    """Smallest area of a crop; the paper has 0.5 for CIFAR, 0.01 for ImageNet."""
    ratio: float = 0.4
    """r of the Beta distribution."""

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        mixed = []
        for image in images.split(1):
            crop = partial(random_crop, image, rng=rng)
            mixed.append(blend(*draw_crops(crop, self.crops, self.scale, self.ratio, rng)))
        return torch.cat(mixed), targets


@dataclass
class YOCO(Mix):
    """Cut each image into halves along a random axis and change both on their own (YOCO, arXiv:2201.12078).

    YOCO takes any augmentation; this one mirrors and jitters, as in MediAug (arXiv:2504.18983).
    """

    name: str = "yoco"
    flip: float = 0.5
    """Share of the halves that are mirrored. Left becomes right."""
    jitter: float = 0.5
    """Largest change of brightness and contrast, as a share."""

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        return torch.cat([self.cut(image, rng) for image in images.split(1)]), targets

    def cut(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Change the halves of a (1, C, H, W) image."""
        axis = int(rng.integers(2, 4))
        halves = image.tensor_split(2, axis)
        flipped = [half.flip(3) if rng.random() < self.flip else half for half in halves]
        return torch.cat([jitter(half, self.jitter, rng) for half in flipped], axis)


def blend(images: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted sum."""
    return torch.einsum("w,wbchr->bchr", images[0].new_tensor(weights), torch.stack(list(images)))


def random_crop(image: Tensor, area: float, rng: np.random.Generator) -> Tensor:
    """A crop with a share of the area and a random aspect, as far as they fit, resized to the size of the image."""
    height, width = image.shape[-2:]
    aspect = np.exp(rng.uniform(*np.log(ASPECTS)))
    h, w = (max(1, min(side, round(side * part))) for side, part in
            ((height, (area / aspect) ** 0.5), (width, (area * aspect) ** 0.5)))  # fmt: skip
    y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
    return F.interpolate(image[..., y : y + h, x : x + w], (height, width), mode="bilinear")


def jensen_shannon(logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence of V predictions of each image, (V, B, K) logits, mean over images."""
    log_p = F.log_softmax(logits, dim=-1)
    log_mean = log_p.exp().mean(0).clamp(min=1e-7).log()
    return (log_p.exp() * (log_p - log_mean)).sum(-1).mean()
