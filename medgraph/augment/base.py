"""What a mix is, and training without one.

Letters: B batch, C channels, H and W height and width, K classes, V versions of each image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

Maps = Callable[[Tensor, Tensor], Tensor]
"""Class activation maps of the classifier in training: (B, C, H, W) images and (B, K) targets to (B, h, w)."""


@dataclass
class Mix:
    """A change of training batches. Its fields are its options, the defaults are the published values.

    A subclass overrides `mix`, and `loss` where its paper has another one.
    """

    name: str = "none"

    needs_maps: ClassVar[bool] = False
    """Whether `mix` asks the classifier where it sees the class."""

    def __call__(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None = None
    ) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            images: (B, C, H, W) float in [0, 1]; not changed.
            targets: (B, K) float: class probabilities, such as one-hot rows.
            rng: source of every draw; equal generators give equal batches.
            maps: the classifier's maps, where `needs_maps` is set.

        Returns:
            Images (V B, C, H, W) in [0, 1], version by version, and their targets (V B, K). V is 1 but for `AugMix`.

        Raises:
            ValueError: for shapes or types that do not fit, or maps that are missing.
        """
        if images.ndim != 4 or targets.ndim != 2 or len(images) != len(targets) or not targets.is_floating_point():
            raise ValueError(f"images {tuple(images.shape)}, targets {tuple(targets.shape)} {targets.dtype}: expected "
                             "(B, C, H, W) and (B, K) probabilities; one-hot encode class numbers")  # fmt: skip
        if not images.is_floating_point():
            raise ValueError(f"images are {images.dtype}: expected floats in [0, 1]; divide bytes by 255")
        if self.needs_maps and maps is None:
            raise ValueError(f"{self.name} weights labels by class activation maps; pass maps")
        return self.mix(images, targets, rng, maps)

    def mix(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator, maps: Maps | None
    ) -> tuple[Tensor, Tensor]:
        """`__call__` with checked arguments."""
        return images, targets

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of a changed batch, a scalar, from (V B, K) logits and targets."""
        return soft_cross_entropy(logits, targets)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of −Σ_k t_k log p_k; targets (B, K) need not sum to 1."""
    return -(targets * F.log_softmax(logits, dim=-1)).sum(-1).mean()
