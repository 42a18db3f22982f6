"""Mixes of two images and their labels: MixUp, CutMix, SnapMix. Each draws one share and one permutation a batch.

Letters: B batch, C channels, H and W height and width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.augment.base import Maps, Mix

Box = tuple[slice, slice]
"""Rows and columns."""


@dataclass
class MixUp(Mix):
    r"""Blend each image and its target with those of another (MixUp, arXiv:1710.09412).

    .. math:: \tilde x = \lambda x_i + (1 - \lambda) x_j, \quad \tilde y = \lambda y_i + (1 - \lambda) y_j,
        \quad \lambda \sim \mathrm{Beta}(\alpha, \alpha)
    """

    name: str = "mixup"
    alpha: float = 0.2
    """Of the Beta distribution; the paper has 0.1 to 0.4 for ImageNet, 1 for CIFAR."""

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        return mix_up(images, targets, draw_partners(images, rng), float(rng.beta(self.alpha, self.alpha)))


@dataclass
class CutMix(Mix):
    r"""Paste a box of another image, in its place, and weight the labels by area (CutMix, arXiv:1905.04899).

    The box has the aspect of the image and the area :math:`1 - \lambda`, :math:`\lambda \sim \mathrm{Beta}(\alpha,
    \alpha)`, its centre anywhere; targets are weighted by the area that remains after it is clipped to the image.
    """

    name: str = "cutmix"
    alpha: float = 1.0
    """Of the Beta distribution."""

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        return cut_mix(images, targets, draw_partners(images, rng), draw_box(images, self.alpha, rng))


@dataclass
class SnapMix(Mix):
    r"""Paste a box of another image, in another place and size, and weight the labels by meaning (arXiv:2012.04846).

    Semantic percent maps :math:`S` are class activation maps of the images' own classes, resized, shifted to a minimum
    of 0 and scaled to a sum of 1. With a box :math:`a` that is covered and a box :math:`b` that covers it

    .. math:: \tilde y = \rho_a y_i + \rho_b y_j, \qquad \rho_a = 1 - \sum_a S(x_i), \qquad \rho_b = \sum_b S(x_j),

    which need not sum to 1. The boxes are drawn as those of `CutMix`, each with a share of its own. Where a map is
    constant, its boxes count by their area. (The authors' code counts :math:`\rho_a + \rho_b` twice where both images
    are of the same class; here, as in the formula, once.)
    """

    name: str = "snapmix"
    alpha: float = 5.0
    """Of the Beta distribution; the authors have 5 for pretrained weights, 1 in half of the batches from scratch."""

    needs_maps: ClassVar[bool] = True

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        assert maps is not None
        partners = draw_partners(images, rng)
        boxes = draw_box(images, self.alpha, rng), draw_box(images, self.alpha, rng)
        return snap_mix(images, targets, partners, *boxes, percent_maps(maps(images, targets), images))


def mix_up(images: Tensor, targets: Tensor, partners: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """`MixUp` with given (B,) partners and λ."""
    return torch.lerp(images[partners], images, share), torch.lerp(targets[partners], targets, share)


def cut_mix(images: Tensor, targets: Tensor, partners: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """`CutMix` with given (B,) partners and box."""
    mixed = images.clone()
    mixed[..., *box] = images[partners][..., *box]
    return mixed, torch.lerp(targets, targets[partners], area(box) / images[0, 0].numel())


def snap_mix(
    images: Tensor, targets: Tensor, partners: Tensor, covered: Box, covering: Box, percent: Tensor
) -> tuple[Tensor, Tensor]:
    """`SnapMix` with given (B,) partners, boxes and (B, H, W) percent maps; an empty box changes nothing."""
    if not area(covered) * area(covering):
        return images, targets
    size = [side.stop - side.start for side in covered]
    mixed = images.clone()
    mixed[..., *covered] = F.interpolate(images[partners][..., *covering], size, mode="bilinear")
    kept, added = 1 - percent[:, *covered].sum((1, 2)), percent[partners][:, *covering].sum((1, 2))
    return mixed, kept.unsqueeze(1) * targets + added.unsqueeze(1) * targets[partners]


def percent_maps(maps: Tensor, images: Tensor) -> Tensor:
    """Class activation maps (B, h, w) as shares (B, H, W) of their sum at the size of (B, C, H, W) images."""
    resized = F.interpolate(maps.unsqueeze(1), images.shape[-2:], mode="bilinear").squeeze(1)
    shifted = resized - resized.amin((1, 2), keepdim=True)
    flat = (shifted.amax((1, 2), keepdim=True) <= 1e-6 * resized.abs().amax((1, 2), keepdim=True)).to(shifted.dtype)
    shifted = shifted + flat
    return shifted / shifted.sum((1, 2), keepdim=True)


def draw_partners(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A permutation of the batch, (B,) int64."""
    return torch.from_numpy(rng.permutation(len(images))).to(images.device)


def draw_box(images: Tensor, alpha: float, rng: np.random.Generator) -> Box:
    """A box of area 1 − λ, λ ~ Beta(α, α), around a centre anywhere, clipped to the image."""
    part = (1 - rng.beta(alpha, alpha)) ** 0.5
    rows, columns = (_interval(size, part, rng) for size in images.shape[-2:])
    return rows, columns


def area(box: Box) -> int:
    """Pixels of a box."""
    rows, columns = box
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def _interval(size: int, part: float, rng: np.random.Generator) -> slice:
    """An interval of ``part`` of the size around a random centre, clipped to the size."""
    half, centre = round(size * part) / 2, rng.uniform(0, size)
    return slice(max(0, round(centre - half)), min(size, round(centre + half)))
