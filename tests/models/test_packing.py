from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, MistralConfig, Qwen2Config

from medgraph.models.packing import can_pack, packed_hidden_states

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "grouped queries": LlamaConfig(**SMALL, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SMALL, num_key_value_heads=2),
    "gpt_neox": GPTNeoXConfig(**SMALL),
}


def sequences(*lengths: list[int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Random embeddings of several kinds of sequences, and their masks."""
    masks = [torch.arange(max(row)) < torch.tensor(row).unsqueeze(1) for row in lengths]
    return [torch.randn(*mask.shape, 32, requires_grad=True) for mask in masks], masks


def model(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_one_packed_pass_equals_padded_passes_in_values_and_gradients(config):
    llm = model(config)
    embeds, masks = sequences([5, 9, 2], [1, 3], [12])
    packed = packed_hidden_states(llm.get_decoder(), embeds, masks)
    padded = [
        llm.get_decoder()(inputs_embeds=x, attention_mask=mask.long(), use_cache=False).last_hidden_state
        for x, mask in zip(embeds, masks, strict=True)
    ]
    gradients = []
    for states in (packed, padded):
        llm.zero_grad()
        weights = torch.Generator().manual_seed(1)
        tokens = [hidden[mask] for hidden, mask in zip(states, masks, strict=True)]
        loss = sum((x * torch.randn(x.shape, generator=weights)).sum() for x in tokens)
        inputs = torch.autograd.grad(loss, [*embeds, *llm.get_decoder().layers.parameters()])
        gradients.append(inputs)
    for ours, theirs, mask in zip(packed, padded, masks, strict=True):
        assert_close(ours[mask], theirs[mask])
        assert not ours[~mask].any()
    scale = max(gradient.abs().max() for gradient in gradients[1])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * scale


def test_the_attention_of_the_model_is_restored():
    llm = model(CONFIGS["llama"])
    before = llm.config._attn_implementation
    packed_hidden_states(llm.get_decoder(), *sequences([3]))
    assert llm.config._attn_implementation == before


def test_sequences_beyond_a_sliding_window_are_not_packed():
    llm = model(MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8))
    assert can_pack(llm, sequences([3, 8])[1])
    assert not can_pack(llm, sequences([3, 9])[1])
