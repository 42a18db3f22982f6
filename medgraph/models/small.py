"""Models of our own making, and the preset ``small``: 108 million parameters to be trained without any download."""

from __future__ import annotations

from typing import Any

from torch import nn

SMALL_VOCABULARY = 8192
"""Largest vocabulary of a tokenizer that is trained for it."""


def vit(**sizes: Any) -> nn.Module:
    """A vision transformer without dropout and pooler, random weights; ``sizes`` are those of ``ViTConfig``."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    return ViTModel(config, add_pooling_layer=False)


def llama(**sizes: Any) -> nn.Module:
    """A LLaMA for our own tokenizers, with tied words, random weights; ``sizes`` are those of ``LlamaConfig``."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes)
    )


def small_vision() -> nn.Module:
    """A ViT-S/16 of 22 M parameters for 224 x 224 images, random weights."""
    return vit(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=224,
        patch_size=16,
    )


def small_llm(vocab_size: int) -> nn.Module:
    """A LLaMA of 85 M parameters without its words, random weights."""
    return llama(
        vocab_size=vocab_size,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=2048,
    )
