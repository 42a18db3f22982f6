"""From images to encoded sets: each image once as it is, and in augmented views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medgraph.data.augment import augment
from medgraph.data.collate import stack_images
from medgraph.data.records import Image
from medgraph.prompting.encoder import DualEncoder
from medgraph.prompting.method import ImageSet

BATCH = 64
VIEW_CHANGES = ("shift", "rotate", "intensity")
"""What a view changes; see `medgraph.data.augment`. All of them leave the class as it is."""


@torch.no_grad()
def encode_set(
    encoder: DualEncoder,
    images: Sequence[Image],
    labels: Sequence[int],
    groups: Sequence[str],
    views: int = 1,
    seed: int = 0,
    changes: Sequence[str] = VIEW_CHANGES,
) -> ImageSet:
    """Encode the images of one split.

    Args:
        encoder: frozen.
        images: B arrays of (S, S, 3) uint8, S the encoder's `image_size`.
        labels: B classes, 0 to C - 1.
        groups: B names of image or patient.
        views: V, with the image as it is.
        seed: of the augmentation; view v of image b depends on (seed, v, b) alone.
        changes: names of augmentations.
    """
    encoded: list[tuple[Tensor, Tensor]] = []
    for view in range(views):
        shown = [augment(image, changes if view else (), (seed, view, i)) for i, image in enumerate(images)]
        batches = (stack_images(shown[i : i + BATCH]).to(encoder.mean.device) for i in range(0, len(shown), BATCH))
        parts = [encoder.encode_images(batch) for batch in batches]
        encoded.append((torch.cat([part.pooled for part in parts]), torch.cat([part.tokens for part in parts])))
    pooled, tokens = (torch.stack(each, dim=1) for each in zip(*encoded, strict=True))
    return ImageSet(pooled, tokens, torch.tensor(labels, device=pooled.device), groups)
