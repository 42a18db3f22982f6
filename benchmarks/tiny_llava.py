"""A LLaVA of a few layers with random weights, and random batches for it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTModel

from medgraph.data.collate import ConversationBatch, TokenBatch
from medgraph.data.conversation import IGNORE
from medgraph.models.medvlm import MedVLM
from medgraph.models.projector import build_projector
from medgraph.models.vision import VisionTower

WIDTH, HEADS, WORDS = 384, 6, 2000
SIDE, PATCH, VISION_WIDTH, VISION_LAYERS = 256, 16, 192, 4
IMAGE_TOKENS = (SIDE // PATCH) ** 2
MEANS = {"lm": 250, "answer": 150, "extended": 200}
"""Mean tokens of text in a conversation (60 % of them supervised), an answer and an extended answer."""
SPREAD = 0.35
"""Standard deviation of the logarithm of the lengths."""


def make_model(layers: int) -> MedVLM:
    """Tower, projector and a language model of some layers, the last two of them trainable."""
    vision = ViTConfig(
        hidden_size=VISION_WIDTH, intermediate_size=4 * VISION_WIDTH, num_hidden_layers=VISION_LAYERS,
        num_attention_heads=VISION_WIDTH // 64, image_size=SIDE, patch_size=PATCH, initializer_range=VISION_WIDTH**-0.5,
    )  # fmt: skip
    llm = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=WIDTH * 8 // 3, num_hidden_layers=layers, num_attention_heads=HEADS,
        vocab_size=WORDS, initializer_range=WIDTH**-0.5,
    )  # fmt: skip
    tokenizer = SimpleNamespace(convert_tokens_to_ids=lambda mark: WORDS)  # the image token has no row in the table
    tower = VisionTower(ViTModel(vision, add_pooling_layer=False), -1)
    vlm = MedVLM(tower, build_projector("mlp2x_gelu", tower.width, WIDTH), LlamaForCausalLM(llm), tokenizer)
    vlm.set_trainable(["projector", "llm"])
    return vlm


def make_lengths(mean: int, size: int) -> Tensor:
    """(B,) lengths of a typical batch: expected order statistics of a lognormal draw (Blom), in random order."""
    scores = torch.special.ndtri((torch.arange(1, size + 1) - 0.375) / (size + 0.25))
    return (mean * torch.exp(SPREAD * scores - SPREAD**2 / 2)).long()[torch.randperm(size)]


def make_batch(size: int) -> ConversationBatch:
    """Random images, conversations and texts."""

    def texts(mean: int, image_tokens: int = 0) -> TokenBatch:
        lengths = make_lengths(mean, size)
        places = torch.arange(image_tokens + int(lengths.max()))
        mask = places < image_tokens + lengths.unsqueeze(1)
        ids = torch.randint(WORDS, mask.shape)
        if not image_tokens:
            return TokenBatch(ids, mask)
        ids[:, :image_tokens] = WORDS
        questions = places < image_tokens + (0.4 * lengths).long().unsqueeze(1)
        return TokenBatch(ids, mask, ids.masked_fill(questions | ~mask, IGNORE))

    views = [view for view in MEANS if view != "lm"]
    return ConversationBatch(
        images=torch.randint(256, (size, 3, SIDE, SIDE), dtype=torch.uint8),
        image_ids=torch.arange(size),
        lm=texts(MEANS["lm"], IMAGE_TOKENS),
        lm_extended=None,
        texts={view: texts(MEANS[view]) for view in views},
        text_ids={view: torch.arange(size) for view in views},
        entities={},
        ids=[[str(i)] for i in range(size)],
    )
