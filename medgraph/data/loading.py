"""Data sets and the sampler that can start in the middle of an epoch."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch.distributed as dist
from torch.utils.data import Dataset, Sampler

from medgraph.config import ConfigError
from medgraph.data.augment import augment
from medgraph.data.cache import CachedImages
from medgraph.data.images import KEPT_BYTES, KeptImages
from medgraph.data.records import Corpus, Image, Record, conversations_in

Key = tuple[int, int]
"""(epoch, position): what the training sampler yields, so that a sample may vary by epoch and still be exact."""


class ImageCache:
    """Decoded images of one side length, kept as uint8 in memory.

    Args:
        corpus: where images come from.
        side: pixels.
        limit: bytes to keep; images beyond it are loaded again each time. Images that the corpus itself keeps, or that
            are memory-mapped, are not kept again.
    """

    def __init__(self, corpus: Corpus, side: int, limit: int = KEPT_BYTES) -> None:
        self.side, self.limit, self._load = side, limit, corpus.load_image
        if isinstance(self._load, (CachedImages, KeptImages)):
            self.limit = 0
        else:
            self._load = KeptImages(self._load, limit)

    def __call__(self, image: str) -> Image:
        """Load an image: (side, side, 3) uint8."""
        return self._load(image, self.side)


class ConversationDataset(Dataset[tuple[Image, list[Record]]]):
    """Images with questions and answers as turns: independent questions in an order that changes with the epoch.

    An image with more independent questions than ``turns`` gives several samples, which share its questions anew each
    epoch. Conversations whose turns refer to each other are one sample each, in their own order.

    Args:
        records: records of one split.
        images: loads an image.
        seed: seed of the order of turns and of the augmentation.
        changes: names of augmentations, see `medgraph.data.augment`.
        ordered: see `medgraph.data.records.Corpus.ordered`.
        turns: most independent questions a sample; None: all of an image.
    """

    def __init__(
        self,
        records: Sequence[Record],
        images: Callable[[str], Image],
        seed: int,
        changes: Sequence[str] = (),
        ordered: Collection[str] = (),
        turns: int | None = None,
    ) -> None:
        self.images, self.seed, self.changes, self.ordered = images, seed, tuple(changes), ordered
        self.groups = conversations_in(records, ordered)
        self.samples: list[tuple[int, slice]] = []
        for number, group in enumerate(self.groups):
            parts = 1 if turns is None or group[0].subset in ordered else -(-len(group) // turns)
            bounds = [part * len(group) // parts for part in range(parts + 1)]
            self.samples += [(number, slice(start, stop)) for start, stop in pairwise(bounds)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Image, list[Record]]:
        epoch, index = key
        number, part = self.samples[index]
        records = self.groups[number]
        if records[0].subset not in self.ordered:
            order = np.random.default_rng((self.seed, epoch, number)).permutation(len(records))
            records = [records[i] for i in order]
        image = augment(self.images(records[0].image), self.changes, (self.seed, epoch, index))
        return image, records[part]


class QuestionDataset(Dataset[tuple[Image | None, Record]]):
    """Single questions; without images for the control that answers from the text alone."""

    def __init__(self, records: Sequence[Record], images: Callable[[str], Image] | None) -> None:
        self.records, self.images = records, images

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Image | None, Record]:
        record = self.records[index]
        return (None if self.images is None else self.images(record.image)), record


def leave_signals(worker: int) -> None:
    """Make a loader process deaf to what is sent to all processes of a job: the main process decides when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def rank_and_ranks() -> tuple[int, int]:
    """Rank of this process and their number; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


class ShareSampler(Sampler[int]):
    """This rank's share of an evaluation: all ranks together take every sample exactly once.

    Args:
        size: samples in the data set.
        even: fill the shares up to one length with a sample of another rank, for strategies whose ranks must take
            equally many steps; whoever counts must then leave out what comes twice.
    """

    def __init__(self, size: int, even: bool = False) -> None:
        rank, ranks = rank_and_ranks()
        self.mine = [*range(rank, size, ranks)]
        if even and len(self.mine) < -(-size // ranks):
            self.mine.append(0)

    def __len__(self) -> int:
        return len(self.mine)

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)


class EpochSampler(Sampler[Key]):
    """Shuffle by (seed, epoch), share evenly over ranks, and start where a checkpoint left off.

    Skipped batches are never decoded. Rank by rank, the batches of a step are the batch of a single process that takes
    them all at once.

    Every rank gets the same number of samples: the epoch's tail that does not fill a batch on all ranks is left out
    (and is in other epochs' heads), because graphs of different sizes would change the loss.

    Args:
        size: samples in the data set.
        batch_size: samples of a batch and rank.
        seed: seed of the order.
        skip_batches: batches that a checkpoint has already seen, in all epochs together. A loader with workers takes
            its first batches before Lightning sets the epoch, so the sampler must know it by itself.

    Raises:
        ConfigError: if the data does not fill one batch on every rank.
    """

    def __init__(self, size: int, batch_size: int, seed: int, skip_batches: int = 0) -> None:
        self.rank, self.ranks = rank_and_ranks()
        self.num_batches = size // (batch_size * self.ranks)
        if self.num_batches == 0:
            raise ConfigError(
                f"{size} training images do not fill one batch of {batch_size} on {self.ranks} process(es); lower "
                "batch_size or raise data.fraction"
            )
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.epoch, self._skip = divmod(skip_batches, self.num_batches)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        steps = order[: self.num_batches * self.batch_size * self.ranks].reshape(-1, self.ranks, self.batch_size)
        mine = steps[self._skip :, self.rank].flatten()
        self._skip = 0
        return iter([(self.epoch, int(index)) for index in mine])
