"""Labelled images as batches, in an order that depends on seed and epoch alone.

Letters: B images, S side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medgraph.data.augment import augment
from medgraph.data.collate import stack_images
from medgraph.data.datamodule import ResumedDataModule
from medgraph.data.loading import ImageCache, Key
from medgraph.data.records import Corpus, Image
from medgraph.training.representations import LabelledImage, labelled_images

Sample = tuple[Image, LabelledImage]


@dataclass(slots=True)
class LabelledBatch:
    """What a training step needs.

    Attributes:
        images: (B, 3, S, S) uint8.
        labels: (B,) int64, class 0 to K - 1.
        ids: names of the images, for error messages.
    """

    images: Tensor
    labels: Tensor
    ids: list[list[str]]

    def to(self, device: torch.device) -> LabelledBatch:
        """Copy to a device, without waiting for it."""
        images, labels = (tensor.to(device, non_blocking=True) for tensor in (self.images, self.labels))
        return LabelledBatch(images, labels, self.ids)


def collate_labelled(samples: Sequence[Sample]) -> LabelledBatch:
    """Stack B samples."""
    images, labelled = zip(*samples, strict=True)
    return LabelledBatch(
        stack_images(images), torch.tensor([each.label for each in labelled]), [[each.image] for each in labelled]
    )


class LabelledDataset(Dataset[Sample]):
    """Images of a split with their classes; each is changed anew every epoch.

    Args:
        images: of the split.
        load: loads an image, (S, S, 3) uint8.
        changes: names of augmentations, see `medgraph.data.augment`.
        seed: seed of the augmentation.
    """

    def __init__(
        self, images: Sequence[LabelledImage], load: Callable[[str], Image], changes: Sequence[str], seed: int
    ) -> None:
        self.images, self.load, self.changes, self.seed = images, load, changes, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        labelled = self.images[index]
        return augment(self.load(labelled.image), self.changes, (self.seed, epoch, index)), labelled


class LabelledDataModule(ResumedDataModule):
    """Labelled images of a corpus; one is chosen by each image's first record.

    Args:
        corpus: with the splits train, val and test.
        side: S.
        batch_size: B.
        seed: seed of order and augmentation.
        changes: names of augmentations of training images.
        num_workers: loader processes.

    Attributes:
        splits: images of train, val and test; those whose class training lacks are left out.
        classes: K.

    Raises:
        ConfigError: if a split has no labelled image.
    """

    def __init__(
        self,
        corpus: Corpus,
        side: int,
        batch_size: int,
        seed: int,
        changes: Sequence[str] = (),
        num_workers: int = 0,
    ) -> None:
        super().__init__(corpus.fingerprint(), batch_size, seed, num_workers)
        self.load = ImageCache(corpus, side)
        self.splits = {name: labelled_images(corpus, name) for name in ("train", "val", "test")}
        self.classes = 1 + max(each.label for each in self.splits["train"])
        self.dataset = LabelledDataset(self.splits["train"], self.load, changes, seed)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled images, from where the checkpoint left off."""
        return self.training_loader(self.dataset, collate_labelled)
