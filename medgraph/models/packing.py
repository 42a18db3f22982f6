"""One pass of the language model over sequences of different kinds and lengths, without padding.

All real tokens of all sequences lie side by side in one row; every layer but attention works on that row as it is.
Attention works on each kind of sequences by itself, right-padded, with the causal kernel that needs no mask (a dense
block mask costs more than the padding it saves).

Letters: K kinds of sequences, B sequences of a kind, T their padded length, N real tokens of all kinds, D width,
H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "medgraph_packed"


def can_pack(llm: nn.Module, masks: Sequence[Tensor]) -> bool:
    """Tell whether a causal language model takes another attention function, and these sequences fit its window."""
    config: Any = llm.config
    window = getattr(config, "sliding_window", None)
    longest = max(mask.shape[1] for mask in masks)
    return bool(getattr(llm, "_supports_attention_backend", False)) and (window is None or longest <= window)


def packed_hidden_states(decoder: nn.Module, embeds: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Final hidden states of K kinds of sequences from one pass: the same as K padded passes.

    Args:
        decoder: the decoder of a Hugging Face causal language model.
        embeds: K tensors (B, T, D) of token embeddings; B and T may differ between kinds.
        masks: K tensors (B, T) bool, True at real tokens, which come first (right padding).

    Returns:
        K tensors (B, T, D), zero at padding.
    """
    row = torch.cat([x[mask] for x, mask in zip(embeds, masks, strict=True)]).unsqueeze(0)
    positions = torch.cat([(mask.cumsum(1) - 1)[mask] for mask in masks]).unsqueeze(0)
    with _attention(decoder.config, NAME):
        hidden = decoder(inputs_embeds=row, position_ids=positions, use_cache=False, kinds=masks).last_hidden_state
    return _unpack(hidden[0], masks)


def grouped_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, kinds: Sequence[Tensor],
    **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Causal attention within each sequence of a packed row.

    Args:
        module: the attention layer.
        query: (1, H, N, D / H); key and value may have fewer heads.
        key: as query.
        value: as query.
        attention_mask: not used.
        kinds: K masks (B, T) bool that say where the N tokens belong.
        options: dropout and scaling, handed on.

    Returns:
        (1, N, H, D / H), and None.
    """
    del attention_mask
    parts = zip(*(_unpack(x[0].transpose(0, 1), kinds) for x in (query, key, value)), strict=True)
    options["is_causal"] = True
    outputs = [
        sdpa_attention_forward(module, *(part.transpose(1, 2) for part in kind), attention_mask=None, **options)[0][
            mask
        ]
        for kind, mask in zip(parts, kinds, strict=True)
    ]
    return torch.cat(outputs).unsqueeze(0), None


def _unpack(row: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
    """(N, …) to K tensors (B, T, …), zero at padding."""
    unpacked = []
    for mask, tokens in zip(masks, row.split([int(mask.sum()) for mask in masks]), strict=True):
        padded = row.new_zeros(*mask.shape, *row.shape[1:])
        padded[mask] = tokens
        unpacked.append(padded)
    return unpacked


@contextmanager
def _attention(config: Any, name: str) -> Iterator[None]:
    """Let a model use an attention function inside a block."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


AttentionInterface.register(NAME, grouped_attention)
