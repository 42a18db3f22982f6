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
    kinds = [Kind(mask) for mask in masks]
    row = torch.cat([kind.take(x) for kind, x in zip(kinds, embeds, strict=True)]).unsqueeze(0)
    positions = torch.cat([kind.take(mask.cumsum(1) - 1) for kind, mask in zip(kinds, masks, strict=True)]).unsqueeze(0)
    with attention_function(decoder.config, NAME):
        hidden = decoder(inputs_embeds=row, position_ids=positions, use_cache=False, kinds=kinds).last_hidden_state
    return _unpack(hidden[0], kinds)


class Kind:
    """Where the real tokens of one kind of sequences are: found once a pass, used in every layer.

    Args:
        mask: (B, T) bool, True at real tokens.
    """

    def __init__(self, mask: Tensor) -> None:
        self.shape = mask.shape
        self.real = mask.flatten().nonzero().squeeze(1)

    def take(self, padded: Tensor) -> Tensor:
        """(B, T, …) to the real tokens, (n, …)."""
        return padded.flatten(0, 1).index_select(0, self.real)

    def put(self, tokens: Tensor) -> Tensor:
        """(n, …) to (B, T, …), zero at padding."""
        padded = tokens.new_zeros(self.shape.numel(), *tokens.shape[1:])
        return padded.index_copy(0, self.real, tokens).unflatten(0, self.shape)


def grouped_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, kinds: Sequence[Kind],
    **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Causal attention within each sequence of a packed row.

    Args:
        module: the attention layer.
        query: (1, H, N, D / H); key and value may have fewer heads.
        key: as query.
        value: as query.
        attention_mask: not used.
        kinds: where the N tokens belong.
        options: dropout and scaling, handed on.

    Returns:
        (1, N, H, D / H), and None.
    """
    del attention_mask
    parts = zip(*(_unpack(x[0].transpose(0, 1), kinds) for x in (query, key, value)), strict=True)
    options["is_causal"] = True
    outputs = [
        kind.take(sdpa_attention_forward(module, *(x.transpose(1, 2) for x in part), attention_mask=None, **options)[0])
        for kind, part in zip(kinds, parts, strict=True)
    ]
    return torch.cat(outputs).unsqueeze(0), None


def _unpack(row: Tensor, kinds: Sequence[Kind]) -> list[Tensor]:
    """(N, …) to K tensors (B, T, …), zero at padding."""
    return [kind.put(part) for kind, part in zip(kinds, row.split([len(kind.real) for kind in kinds]), strict=True)]


@contextmanager
def attention_function(config: Any, name: str) -> Iterator[None]:
    """Let a model use an attention function inside a block."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


AttentionInterface.register(NAME, grouped_attention)
