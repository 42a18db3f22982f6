from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPTNeoXConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from medgraph.data.layout import Layout
from medgraph.models import packing
from medgraph.models.packing import PackedRow, can_pack, join, packed_hidden_states, split, varlen_dtype

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
CONFIGS = {
    "llama": LlamaConfig(**SMALL),
    "grouped queries": LlamaConfig(**SMALL, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SMALL, num_key_value_heads=2),
    "gpt_neox": GPTNeoXConfig(**SMALL),
}


def sequences(*lengths: list[int]) -> tuple[list[torch.Tensor], list[Layout]]:
    """Random embeddings of several kinds of sequences, and where their tokens are."""
    masks = [torch.arange(max(row)) < torch.tensor(row).unsqueeze(1) for row in lengths]
    return [torch.randn(*mask.shape, 32, requires_grad=True) for mask in masks], list(map(Layout.of, masks))


def mask_of(layout: Layout) -> torch.Tensor:
    return torch.arange(layout.shape[1]) < layout.lengths.unsqueeze(1)


def model(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def check_equal(llm, *lengths):
    """One packed pass against padded ones, in states and in all gradients."""
    embeds, layouts = sequences(*lengths)
    masks = list(map(mask_of, layouts))
    packed = packed_hidden_states(llm.get_decoder(), embeds, layouts)
    padded = [
        llm.get_decoder()(inputs_embeds=x, attention_mask=mask.long(), use_cache=False).last_hidden_state
        for x, mask in zip(embeds, masks, strict=True)
    ]
    gradients = []
    for states in (packed, padded):
        weights = torch.Generator().manual_seed(1)
        tokens = [hidden[mask] for hidden, mask in zip(states, masks, strict=True)]
        loss = sum((x * torch.randn(x.shape, generator=weights)).sum() for x in tokens)
        gradients.append(torch.autograd.grad(loss, [*embeds, *llm.get_decoder().layers.parameters()]))
    for ours, theirs, mask in zip(packed, padded, masks, strict=True):
        assert_close(ours[mask], theirs[mask])
        assert not ours[~mask].any()
    scale = max(gradient.abs().max() for gradient in gradients[1])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * scale


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("call", [-1, 10, 2000], ids=["all alone", "some", "none"])
def test_one_packed_pass_equals_padded_passes_in_values_and_gradients(config, call, monkeypatch):
    monkeypatch.setattr(packing, "CALL", call)
    check_equal(model(config), [5, 9, 2], [1, 3], [12])


def test_attention_takes_sequences_one_by_one_where_padding_costs_more_than_calls():
    _, layouts = sequences([40, 90], [40, 70], [90, 90, 90])  # 3250 and 1650 pairs of padding a sequence, and none
    groups = PackedRow(layouts).groups
    assert [tuple(group.shape) for group in groups] == [(1, 40), (1, 90), (2, 70), (3, 90)]
    row = torch.arange(sum(int(layout.lengths.sum()) for layout in layouts))
    assert torch.equal(join(split(row, groups), groups), row)


@pytest.mark.parametrize("lengths", [[[1]], [[1, 1, 1], [1]], [[4, 4], [4]], [[2, 11]]], ids=str)
def test_sequences_of_one_token_and_of_equal_lengths_are_packed_as_well(lengths):
    check_equal(model(CONFIGS["grouped queries"]), *lengths)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_kernel_for_different_lengths_gets_what_makes_the_result_the_same(config, monkeypatch):
    calls = []

    def attend_one_by_one(query, key, value, ends_q, ends_k, longest_q, longest_k, *, scale, window_size, enable_gqa):
        calls.append((ends_q.tolist(), longest_q))
        assert ends_q.dtype == torch.int32
        assert ends_q is ends_k
        assert longest_q == longest_k
        assert window_size == (-1, 0)
        assert enable_gqa == (query.shape[1] != key.shape[1])
        parts = [
            F.scaled_dot_product_attention(
                *(x[start:end].transpose(0, 1) for x in (query, key, value)),
                is_causal=True, scale=scale, enable_gqa=enable_gqa,
            ).transpose(0, 1)
            for start, end in pairwise(ends_q)
        ]  # fmt: skip
        return torch.cat(parts)

    monkeypatch.setattr(packing, "varlen_attn", attend_one_by_one)
    monkeypatch.setattr(packing, "varlen_dtype", lambda query, value, dropout: query.dtype)
    check_equal(model(config), [5, 9, 2], [1, 3], [12])
    assert calls == [([0, 5, 14, 16, 17, 20, 32], 12)] * 2


def test_the_kernel_for_different_lengths_is_for_cuda_only():
    assert varlen_dtype(torch.zeros(1, 2, 3, 8, dtype=torch.bfloat16), torch.zeros(1, 2, 3, 8), 0.0) is None


class OnCuda:
    """A query on a device that is not here."""

    is_cuda, device = True, "cuda"

    def __init__(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        self.shape, self.dtype = (1, 2, 3, width), dtype


def test_the_kernel_for_different_lengths_takes_half_precision_and_the_type_of_autocast(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    half = OnCuda(64, torch.bfloat16)
    assert varlen_dtype(half, half, 0.0) == torch.bfloat16
    assert varlen_dtype(half, half, 0.1) is None
    assert varlen_dtype(half, OnCuda(32), 0.0) is None
    for width in (12, 264):
        assert varlen_dtype(OnCuda(width, torch.bfloat16), OnCuda(width), 0.0) is None
    assert varlen_dtype(OnCuda(64), OnCuda(64), 0.0) is None
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.float16)
    assert varlen_dtype(OnCuda(64), OnCuda(64), 0.0) == torch.float16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert varlen_dtype(half, half, 0.0) is None


def test_a_row_knows_where_its_sequences_end():
    _, layouts = sequences([5, 9, 2], [1, 3])
    row = PackedRow(layouts)
    assert row.ends.tolist() == [0, 5, 14, 16, 17, 20]
    assert row.longest == 9
    padded = [torch.randn(*layout.shape, 4) * mask_of(layout).unsqueeze(-1) for layout in layouts]
    for before, after in zip(padded, split(join(padded, layouts), layouts), strict=True):
        assert torch.equal(before, after)


def test_the_attention_of_the_model_is_restored():
    llm = model(CONFIGS["llama"])
    before = llm.config._attn_implementation
    packed_hidden_states(llm.get_decoder(), *sequences([3]))
    assert llm.config._attn_implementation == before


def test_sequences_beyond_a_sliding_window_are_not_packed():
    llm = model(MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8))
    assert can_pack(llm, sequences([3, 8])[1])
    assert not can_pack(llm, sequences([3, 9])[1])


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8),
        Lfm2Config(**SMALL, num_key_value_heads=2, layer_types=["conv", "full_attention"]),
    ],
    ids=["attention with a soft cap", "convolutions"],
)
def test_models_whose_tokens_meet_in_other_ways_are_not_packed(config):
    assert not can_pack(model(config), sequences([3])[1])
