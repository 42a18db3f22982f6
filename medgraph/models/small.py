"""The parts of the preset ``small``: 108 million parameters to be trained from nothing, without any download."""

from __future__ import annotations

from torch import nn

SMALL_VOCABULARY = 8192
"""Largest vocabulary of a tokenizer that is trained for it."""


def small_vision() -> nn.Module:
    """A ViT-S/16 of 22 M parameters for 224 x 224 images, random weights."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=224,
        patch_size=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return ViTModel(config, add_pooling_layer=False)


def small_llm(vocab_size: int) -> nn.Module:
    """A LLaMA of 85 M parameters without its words, random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=12,
            num_attention_heads=12,
            num_key_value_heads=12,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
