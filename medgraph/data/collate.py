"""Batches: conversations of images for training, single questions for evaluation.

Letters: B batch, T tokens, S side of the image in pixels.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medgraph.data.conversation import (
    IGNORE,
    encode_answers,
    encode_conversation,
    encode_prompt,
)
from medgraph.data.layout import Layout
from medgraph.data.records import ELEMENTS, Image, Record


@dataclass(slots=True)
class TokenBatch:
    """Padded token sequences.

    Attributes:
        ids: (B, T) int64.
        mask: (B, T) bool, True at real tokens.
        labels: (B, T) int64 with ``IGNORE`` at tokens that are not supervised, or None.
        layout: where the real tokens are.
        supervised: (n,) int64, where the supervised tokens are among the B·T, or None; a first token is never one.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor | None = None
    layout: Layout = field(init=False)
    supervised: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.mask)
        if self.labels is not None:
            predicted = self.labels != IGNORE
            predicted[:, 0] = False
            self.supervised = predicted.flatten().nonzero().squeeze(1)

    def to(self, device: torch.device) -> TokenBatch:
        """Copy to a device, without waiting for it."""
        moved = copy.copy(self)
        moved.layout = self.layout.to(device)
        for name in ("ids", "mask", "labels", "supervised"):
            value: Tensor | None = getattr(self, name)
            setattr(moved, name, None if value is None else value.to(device, non_blocking=True))
        return moved


@dataclass(slots=True)
class ConversationBatch:
    """What a training step needs.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        image_ids: (B,) int64; equal for the same image.
        lm: conversations with short answers.
        lm_extended: the same conversations with extended answers, where the language model trains on them too.
        texts: graph nodes' texts by view (``answer``, ``extended``), where an alignment head wants them.
        text_ids: (B,) int64 for each view; equal for equal texts.
        entities: (B,) int64 codes of ``modality``, ``area``, ``task`` and ``label``; equal for equal values, -1 where
            a record has none.
        ids: record ids by image, for error messages.
    """

    images: Tensor
    image_ids: Tensor
    lm: TokenBatch
    lm_extended: TokenBatch | None
    texts: dict[str, TokenBatch]
    text_ids: dict[str, Tensor]
    entities: dict[str, Tensor]
    ids: list[list[str]]

    def to(self, device: torch.device) -> ConversationBatch:
        """Copy to a device, without waiting for it; Lightning calls this."""
        return ConversationBatch(
            images=self.images.to(device, non_blocking=True),
            image_ids=self.image_ids.to(device, non_blocking=True),
            lm=self.lm.to(device),
            lm_extended=None if self.lm_extended is None else self.lm_extended.to(device),
            texts={view: text.to(device) for view, text in self.texts.items()},
            text_ids={view: ids.to(device, non_blocking=True) for view, ids in self.text_ids.items()},
            entities={name: codes.to(device, non_blocking=True) for name, codes in self.entities.items()},
            ids=self.ids,
        )


@dataclass(slots=True)
class QuestionBatch:
    """What generation needs.

    Attributes:
        images: (B, 3, S, S) uint8 RGB, or None to ask without images.
        prompts: left-padded prompts.
        records: the questions.
    """

    images: Tensor | None
    prompts: TokenBatch
    records: list[Record]

    def to(self, device: torch.device) -> QuestionBatch:
        """Copy to a device; Lightning calls this."""
        images = None if self.images is None else self.images.to(device)
        return QuestionBatch(images, self.prompts.to(device), self.records)

    def take(self, rows: list[int]) -> QuestionBatch:
        """The questions at these positions."""
        images = None if self.images is None else self.images[rows]
        prompts = TokenBatch(self.prompts.ids[rows], self.prompts.mask[rows])
        return QuestionBatch(images, prompts, [self.records[row] for row in rows])


@dataclass(frozen=True, slots=True)
class Tokens:
    """What collation must know about the model.

    Attributes:
        tokenizer: fast Hugging Face tokenizer with an ``<image>`` token.
        image_tokens: tokens of one image.
        max_length: longest sequence in tokens.
    """

    tokenizer: Any
    image_tokens: int
    max_length: int


def pad(sequences: Sequence[Sequence[int]], value: int, left: bool = False) -> tuple[Tensor, Tensor]:
    """Stack sequences of different lengths.

    Returns:
        (B, T) int64 padded with ``value``, and the (B, T) bool mask of real entries.
    """
    length = max(map(len, sequences))
    ids = torch.full((len(sequences), length), value)
    mask = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        at = slice(length - len(sequence), None) if left else slice(len(sequence))
        ids[row, at] = torch.tensor(sequence)
        mask[row, at] = True
    return ids, mask


def stack_images(images: Sequence[Image]) -> Tensor:
    """(S, S, 3) uint8 arrays to one (B, 3, S, S) uint8 tensor."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def content_id(text: str) -> int:
    """A number that is equal for equal texts, whatever the process."""
    return zlib.crc32(text.encode())


def entity_codes(records: Sequence[Record]) -> dict[str, Tensor]:
    """Modality, area, task and label of each record as (B,) int64 codes, -1 where it has none."""
    values = {name: [getattr(record.triplet, name) for record in records] for name in ELEMENTS}
    values["label"] = [record.label for record in records]
    return {name: torch.tensor([content_id(text) if text else -1 for text in texts]) for name, texts in values.items()}


def collate_conversations(
    samples: Sequence[tuple[Image, Sequence[Record]]], tokens: Tokens, views: Sequence[str], extended_lm: bool
) -> ConversationBatch:
    """Build the batch of a training step.

    Args:
        samples: an image and its records, for each node.
        tokens: tokenizer and sizes of the model.
        views: text views for the alignment head, out of ``answer`` and ``extended``.
        extended_lm: also encode the conversations with extended answers.
    """

    def conversations(detail: bool) -> TokenBatch:
        encoded = [
            encode_conversation(tokens.tokenizer, records, tokens.image_tokens, tokens.max_length, detail)
            for _, records in samples
        ]
        ids, mask = pad([sample.ids for sample in encoded], tokens.tokenizer.pad_token_id)
        return TokenBatch(ids, mask, pad([sample.labels for sample in encoded], IGNORE)[0])

    def answers(view: str) -> list[list[int]]:
        return [
            encode_answers(tokens.tokenizer, records, tokens.max_length, view == "extended") for _, records in samples
        ]

    texts = {view: answers(view) for view in views}
    return ConversationBatch(
        images=stack_images([image for image, _ in samples]),
        image_ids=torch.tensor([content_id(records[0].image_id) for _, records in samples]),
        lm=conversations(detail=False),
        lm_extended=conversations(detail=True) if extended_lm else None,
        texts={view: TokenBatch(*pad(ids, tokens.tokenizer.pad_token_id)) for view, ids in texts.items()},
        text_ids={view: torch.tensor([content_id(repr(row)) for row in ids]) for view, ids in texts.items()},
        entities=entity_codes([records[0] for _, records in samples]),
        ids=[[record.id for record in records] for _, records in samples],
    )


def collate_questions(samples: Sequence[tuple[Image | None, Record]], tokens: Tokens) -> QuestionBatch:
    """Build a batch for generation: left-padded prompts, so that all answers start at the same position."""
    images = [image for image, _ in samples if image is not None]
    count = tokens.image_tokens if images else 0
    prompts = [encode_prompt(tokens.tokenizer, record, count) for _, record in samples]
    return QuestionBatch(
        images=stack_images(images) if images else None,
        prompts=TokenBatch(*pad(prompts, tokens.tokenizer.pad_token_id, left=True)),
        records=[record for _, record in samples],
    )
