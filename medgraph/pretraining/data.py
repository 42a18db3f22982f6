"""Images without labels as batches of views, from any corpus or folder, balanced over modalities.

Letters: V views, B images, S side of a view in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medgraph.config import ConfigError
from medgraph.data.collate import content_id, stack_images
from medgraph.data.datamodule import ResumedDataModule
from medgraph.data.errors import DataError
from medgraph.data.images import ImageFolder
from medgraph.data.loading import ImageCache
from medgraph.data.paths import is_image
from medgraph.data.records import Corpus, Image, MATTriplet, Record
from medgraph.pretraining.crops import View, draw_views
from medgraph.pretraining.options import ViewOptions

Draw = tuple[int, int, int]
"""(epoch, position in it, image): what the sampler yields; an image that comes twice has other views."""

SPLITS = ("train", "task")
"""Splits whose images are trained on; others may be what a study is tested with."""


def read_images(root: Path) -> Corpus:
    """Make a corpus of all images below a folder, without questions and labels.

    Args:
        root: folder; the first subfolder on the way to an image counts as its modality.

    Raises:
        DataError: if there is no image.
    """
    images = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path.name))
    if not images:
        raise DataError(f"{root}: no images below this folder")
    records = [
        Record(
            id=image, image_id=image, image=image, question="", answer="", extended="", answer_type="open",
            question_type="", triplet=MATTriplet(image.split("/")[0] if "/" in image else "", "", ""), label="",
            subset=root.name, group=image,
        )
        for image in images
    ]  # fmt: skip
    return Corpus({"train": records}, ImageFolder(root, records))


@dataclass(slots=True)
class ViewBatch:
    """What a training step needs.

    Attributes:
        pixels: (V, B, 3, S, S) uint8.
        boxes: (V, B, 4) float32: left, top, right and bottom of each crop in [0, 1] of its image.
        flips: (V, B) bool, whether the crop was mirrored.
        image_ids: (B,) int64, equal for the same image.
        ids: names of the images, for error messages.
    """

    pixels: Tensor
    boxes: Tensor
    flips: Tensor
    image_ids: Tensor
    ids: list[list[str]]

    def to(self, device: torch.device) -> ViewBatch:
        """Copy to a device, without waiting for it."""
        pixels, boxes, flips, image_ids = (
            tensor.to(device, non_blocking=True) for tensor in (self.pixels, self.boxes, self.flips, self.image_ids)
        )
        return ViewBatch(pixels, boxes, flips, image_ids, self.ids)


def collate_views(samples: Sequence[tuple[str, list[View]]]) -> ViewBatch:
    """Stack B samples of V views each."""
    names, views = zip(*samples, strict=True)
    by_view = list(zip(*views, strict=True))
    return ViewBatch(
        torch.stack([stack_images([view.pixels for view in row]) for row in by_view]),
        torch.tensor([[view.box for view in row] for row in by_view]),
        torch.tensor([[view.flipped for view in row] for row in by_view]),
        torch.tensor([content_id(name) for name in names]),
        [[name] for name in names],
    )


class ViewDataset(Dataset[tuple[str, list[View]]]):
    """Views of images, a function of the seed and the draw.

    Args:
        images: names, as the loader takes them.
        load: loads an image of any size, (H, W, 3) uint8.
        side: S.
        options: of the views.
        seed: seed of the views.
    """

    def __init__(
        self, images: Sequence[str], load: Callable[[str], Image], side: int, options: ViewOptions, seed: int
    ) -> None:
        self.images, self.load, self.side, self.options, self.seed = list(images), load, side, options, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, draw: Draw) -> tuple[str, list[View]]:
        epoch, position, index = draw
        name = self.images[index]
        rng = np.random.default_rng((self.seed, epoch, position))
        return name, draw_views(self.load(name), self.side, self.options, rng)


def balanced_order(groups: Sequence[str], balance: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw an epoch in which group g has a share proportional to its size to the power 1 - ``balance``.

    Images of a group come equally often, give or take one: groups are repeated whole, then cut.

    Args:
        groups: (N,) group of each image.
        balance: 0: every image once; 1: equal shares for all groups.
        rng: source of the order.

    Returns:
        (N,) int64 indices.

    Example:
        >>> order = balanced_order(["ct"] * 6 + ["mr"] * 2, 1.0, np.random.default_rng(0))
        >>> int((order < 6).sum()), sorted(order[order >= 6].tolist())
        (4, [6, 6, 7, 7])
    """
    _, codes, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights = counts ** (1.0 - balance)
    exact = weights / weights.sum() * len(codes)
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: len(codes) - quota.sum()]] += 1
    parts = []
    for code, wanted in enumerate(quota):
        members = np.flatnonzero(codes == code)
        passes = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
        parts.append(np.concatenate([members[:0], *passes])[:wanted])
    return rng.permutation(np.concatenate(parts))


class BalancedSampler(Sampler[Draw]):
    """Shuffle by (seed, epoch), balanced over groups, and start where a checkpoint left off.

    Args:
        groups: (N,) group of each image.
        batch_size: images of a batch; the tail of an epoch that does not fill one is left out.
        seed: seed of the order.
        balance: see `balanced_order`.
        skip_batches: batches that a checkpoint has already seen, in all epochs together.

    Raises:
        ConfigError: if the images do not fill one batch.
    """

    def __init__(
        self, groups: Sequence[str], batch_size: int, seed: int, balance: float = 1.0, skip_batches: int = 0
    ) -> None:
        self.num_batches = len(groups) // batch_size
        if self.num_batches == 0:
            raise ConfigError(f"batch_size={batch_size}: {len(groups)} images do not fill one batch; lower it")
        self.groups, self.batch_size, self.seed, self.balance = list(groups), batch_size, seed, balance
        self.epoch, self._skip = divmod(skip_batches, self.num_batches)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        order = balanced_order(self.groups, self.balance, np.random.default_rng((self.seed, self.epoch)))
        draws = [(self.epoch, position, int(index)) for position, index in enumerate(order[: len(self)])]
        skipped, self._skip = self._skip * self.batch_size, 0
        return iter(draws[skipped:])


class ViewDataModule(ResumedDataModule):
    """Views of the training images of a corpus.

    Its checkpoint state is the corpus' fingerprint, so that other data is refused, and the number of batches that were
    trained on.

    Args:
        corpus: images and their modalities; of its splits `SPLITS` are used.
        side: S, side of the tower's images in pixels.
        options: of the views.
        batch_size: images a step.
        seed: seed of order and views.
        balance: see `balanced_order`.
        num_workers: loader processes.
    """

    def __init__(
        self,
        corpus: Corpus,
        side: int,
        options: ViewOptions,
        batch_size: int,
        seed: int,
        balance: float = 1.0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(corpus.fingerprint(), batch_size, seed, num_workers)
        modality = {r.image: r.triplet.modality for name in SPLITS for r in corpus.splits.get(name, ())}
        load = ImageCache(corpus, round(options.source * side))
        self.dataset = ViewDataset(list(modality), load, side, options, seed)
        self.groups, self.balance = list(modality.values()), balance

    def train_dataloader(self) -> DataLoader[Any]:
        """Views in a balanced order, from where the checkpoint left off."""
        sampler = BalancedSampler(self.groups, self.batch_size, self.seed, self.balance, self._trained_batches)
        return self.training_loader(self.dataset, collate_views, sampler)
