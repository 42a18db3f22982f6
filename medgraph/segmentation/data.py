"""Images with masks as batches, in an order that depends on seed and epoch alone.

Letters: B images, S side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medgraph.data.collate import stack_images
from medgraph.data.datamodule import ResumedDataModule
from medgraph.data.loading import Key
from medgraph.data.records import Image
from medgraph.segmentation.masks import MaskedImages

Sample = tuple[str, Image]


@dataclass(slots=True)
class MaskedBatch:
    """What a training step needs.

    Attributes:
        images: (B, 3, S, S) uint8.
        masks: (B, S, S) int64, class 0 to K - 1 of each pixel.
        ids: names of the images, for error messages.
    """

    images: Tensor
    masks: Tensor
    ids: list[list[str]]

    def to(self, device: torch.device) -> MaskedBatch:
        """Copy to a device, without waiting for it."""
        images, masks = (tensor.to(device, non_blocking=True) for tensor in (self.images, self.masks))
        return MaskedBatch(images, masks, self.ids)


def collate_masked(samples: Sequence[Sample]) -> MaskedBatch:
    """Stack B names with their images, see `MaskedImages`."""
    names, pairs = zip(*samples, strict=True)
    stacked = stack_images(pairs)
    return MaskedBatch(stacked[:, :3].contiguous(), stacked[:, 3].long(), [[name] for name in names])


class MaskedDataset(Dataset[Sample]):
    """Images of a split with their masks.

    Args:
        source: where they come from.
        split: which.
        side: S.
    """

    def __init__(self, source: MaskedImages, split: str, side: int) -> None:
        self.names, self.load, self.side = source.splits[split], source.load, side

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: Key) -> Sample:
        name = self.names[key[1]]
        return name, self.load(name, self.side)


class MaskedDataModule(ResumedDataModule):
    """Images with masks.

    Args:
        source: where they come from.
        side: S.
        batch_size: B.
        seed: seed of the order.
        num_workers: loader processes.
    """

    def __init__(self, source: MaskedImages, side: int, batch_size: int, seed: int, num_workers: int = 0) -> None:
        super().__init__(source.fingerprint, batch_size, seed, num_workers)
        self.dataset = MaskedDataset(source, "train", side)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled images, from where the checkpoint left off."""
        return self.training_loader(self.dataset, collate_masked)
