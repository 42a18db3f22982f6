"""Images with their texts as batches, from any corpus.

Letters: B pairs, S side in pixels, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medgraph.config import ConfigError
from medgraph.contrast.options import TextField
from medgraph.data.augment import augment
from medgraph.data.collate import content_id, entity_codes, pad, stack_images
from medgraph.data.datamodule import ResumedDataModule
from medgraph.data.loading import ImageCache, Key
from medgraph.data.records import Corpus, Image, Record, conversations_in
from medgraph.prompting.encoder import DualEncoder

SPLITS = ("train", "task")
"""Splits whose pairs are trained on; others may be what a study is tested with."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and what is written about it.

    Attributes:
        record: the first one of the image.
        texts: those of all its records, each once.
    """

    record: Record
    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        """All texts as one."""
        return " ".join(self.texts)


def pairs_in(corpus: Corpus, splits: Sequence[str], field: TextField) -> list[Pair]:
    """Images of splits with their texts, each image once; records without a text give none.

    Args:
        corpus: any.
        splits: names; those that the corpus has not are empty.
        field: see `medgraph.contrast.options.ContrastConfig`.

    Raises:
        ConfigError: if there is no pair.
    """
    records = [record for name in splits for record in corpus.splits.get(name, ())]
    found = []
    for group in conversations_in(records):
        texts = tuple(dict.fromkeys(text for record in group if (text := text_of(record, field))))
        if texts:
            found.append(Pair(group[0], texts))
    if not found:
        raise ConfigError(f"text={field}: none of the {len(records)} records of {' and '.join(splits)} has one; "
                          "choose another field or other data")  # fmt: skip
    return found


def text_of(record: Record, field: TextField) -> str:
    """The text of a record by the name of the field, without blanks around it."""
    if field == "question_answer":
        return f"{record.question} {record.answer}".strip()
    return (record.extended if field == "extended" else record.answer).strip()


def sentences_of(text: str) -> list[str]:
    """Cut a text behind full stops, question and exclamation marks that a blank follows.

    Example:
        >>> sentences_of("No effusion. Is it 2.5 cm? Yes.")
        ['No effusion.', 'Is it 2.5 cm?', 'Yes.']
    """
    return re.split(r"(?<=[.!?])\s+", text.strip())


@dataclass(slots=True)
class PairBatch:
    """What a training step needs.

    Attributes:
        images: (B, 3, S, S) uint8.
        tokens: (B, T) int64.
        words: (B, T) bool, True at tokens of the text itself: neither padding nor begin and end.
        image_ids: (B,) int64, equal for the same image.
        text_ids: (B,) int64, equal for the same text.
        entities: see `medgraph.alignment.head.AlignmentInput`.
        ids: records of each image, for error messages.
    """

    images: Tensor
    tokens: Tensor
    words: Tensor
    image_ids: Tensor
    text_ids: Tensor
    entities: dict[str, Tensor]
    ids: list[list[str]]

    def to(self, device: torch.device) -> PairBatch:
        """Copy to a device, without waiting for it."""
        images, tokens, words, image_ids, text_ids = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.images, self.tokens, self.words, self.image_ids, self.text_ids)
        )
        entities = {name: codes.to(device, non_blocking=True) for name, codes in self.entities.items()}
        return PairBatch(images, tokens, words, image_ids, text_ids, entities, self.ids)


def tokenize(encoder: DualEncoder, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Encode texts for training: what is longer than the encoder reads is cut, as CLIP's authors do.

    Returns:
        (B, T) int64 tokens, and the (B, T) bool mask of words. T is that of the longest text, for SigLIP the largest.
    """
    tokenizer = encoder.tokenizer
    encoded = tokenizer(
        list(texts), truncation=True, max_length=encoder.max_tokens, return_special_tokens_mask=True, verbose=False
    )
    filler = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    rows, special = encoded["input_ids"], encoded["special_tokens_mask"]
    missing = encoder.max_tokens - max(map(len, rows)) if encoder.kind == "siglip" else 0
    rows, special = ([[*row, *[value] * missing] for row in each] for each, value in ((rows, filler), (special, 1)))
    return pad(rows, filler)[0], pad(special, 1)[0] == 0


class PairDataset(Dataset[tuple[Image, str, Record]]):
    """Pairs whose image is augmented and whose text is drawn, a function of seed, epoch and position.

    Args:
        pairs: in any order.
        load: loads an image, (S, S, 3) uint8.
        seed: of augmentation and texts.
        changes: names of augmentations.
        sentences: draw one sentence of the text, instead of all of it.
    """

    def __init__(
        self, pairs: Sequence[Pair], load: Callable[[str], Image], seed: int, changes: Sequence[str], sentences: bool
    ) -> None:
        self.pairs, self.load, self.seed, self.changes = pairs, load, seed, tuple(changes)
        self.texts = [
            [part for text in pair.texts for part in sentences_of(text)] if sentences else [pair.text] for pair in pairs
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: Key) -> tuple[Image, str, Record]:
        epoch, index = key
        record, texts = self.pairs[index].record, self.texts[index]
        image = augment(self.load(record.image), self.changes, (self.seed, epoch, index))
        chosen = np.random.default_rng((self.seed, epoch, index, 1)).integers(len(texts))
        return image, texts[chosen], record


def collate_pairs(samples: Sequence[tuple[Image, str, Record]], encoder: DualEncoder) -> PairBatch:
    """Build the batch of a training step."""
    images, texts, records = zip(*samples, strict=True)
    return PairBatch(
        stack_images(images),
        *tokenize(encoder, texts),
        torch.tensor([content_id(record.image_id) for record in records]),
        torch.tensor([content_id(text) for text in texts]),
        entity_codes(records),
        [[record.id] for record in records],
    )


class PairDataModule(ResumedDataModule):
    """Shuffled pairs of the training splits of a corpus; images and texts of others are not seen.

    Args:
        corpus: any.
        encoder: its tokenizer and image size are used.
        field: which text, see `pairs_in`.
        batch_size: pairs a step.
        seed: of order, texts and augmentation.
        changes: names of augmentations.
        sentences: see `PairDataset`.
        num_workers: loader processes.
    """

    def __init__(
        self,
        corpus: Corpus,
        encoder: DualEncoder,
        field: TextField,
        batch_size: int,
        seed: int,
        changes: Sequence[str] = (),
        sentences: bool = False,
        num_workers: int = 0,
    ) -> None:
        super().__init__(corpus.fingerprint(), batch_size, seed, num_workers)
        load = ImageCache(corpus, encoder.image_size)
        self.dataset = PairDataset(pairs_in(corpus, SPLITS, field), load, seed, changes, sentences)
        self.encoder = encoder

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled pairs, from where the checkpoint left off."""
        return self.training_loader(self.dataset, partial(collate_pairs, encoder=self.encoder))
