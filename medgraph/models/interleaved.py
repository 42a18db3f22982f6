"""Prompts with several images for `MedVLM`: demonstrations before the question, images where their marks stand.

Letters: B prompts, M images of all prompts, S side of an image, N tokens of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

from medgraph.data.collate import QuestionBatch, TokenBatch, Tokens, pad, stack_images
from medgraph.data.conversation import IMAGE_MARK
from medgraph.data.errors import DataError
from medgraph.data.records import Image
from medgraph.models.medvlm import MedVLM

Prompt = tuple[Sequence[Image], str]
"""(S, S, 3) uint8 images, and a text with one ``<image>`` for each, up to where the answer begins."""


def collate_prompts(prompts: Sequence[Prompt], tokens: Tokens) -> QuestionBatch:
    """Build a batch for generation of prompts with any number of images each.

    Args:
        prompts: images and texts; the special tokens of the tokenizer may occur in the texts.
        tokens: tokenizer and sizes of the model.

    Returns:
        (M, 3, S, S) images in the order of their marks, or None if there are none, and left-padded prompts in which
        each mark is repeated N times; no records.

    Raises:
        DataError: if a text has more or fewer marks than images, or is too long for the model.
    """
    image_id = tokens.tokenizer.convert_tokens_to_ids(IMAGE_MARK)
    sequences = []
    for number, (images, text) in enumerate(prompts):
        short = tokens.tokenizer(text)["input_ids"]
        marks = short.count(image_id)
        if marks != len(images):
            raise DataError(f"prompt {number}: {marks} times {IMAGE_MARK} for {len(images)} images: {text!r}")
        ids = [token for one in short for token in [one] * (tokens.image_tokens if one == image_id else 1)]
        if len(ids) > tokens.max_length:
            raise DataError(
                f"prompt {number}: {len(ids)} tokens with its {len(images)} images, model.max_length="
                f"{tokens.max_length}; raise it, or show fewer demonstrations"
            )
        sequences.append(ids)
    every = [image for images, _ in prompts for image in images]
    return QuestionBatch(
        images=stack_images(every) if every else None,
        prompts=TokenBatch(*pad(sequences, tokens.tokenizer.pad_token_id, left=True)),
        records=[],
    )


def answer_prompts(vlm: MedVLM, prompts: Sequence[Prompt], tokens: Tokens, max_new_tokens: int = 32) -> list[str]:
    """Answer prompts greedily; each text is the same whatever the other prompts of the batch are."""
    device = next(vlm.parameters()).device
    return vlm.generate(collate_prompts(prompts, tokens).to(device), max_new_tokens)
