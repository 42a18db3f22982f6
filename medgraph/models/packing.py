"""One pass of the language model over sequences of different kinds and lengths, without padding.

All real tokens of all sequences lie side by side in one row; every layer but attention works on that row as it is. On
CUDA in half precision attention takes a kernel for sequences of different lengths. Elsewhere it takes the causal
kernel that needs no mask: for each kind of sequences, right-padded, or on the CPU for each sequence alone, whichever is
cheaper. (A dense block mask costs more than the padding it saves.)

Letters: K kinds of sequences, B sequences of a kind, T their padded length, N real tokens of all kinds, D width,
H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from medgraph.data.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "medgraph_packed"
CALL = 2000
"""Pairs of tokens for which one more call of attention costs about as much on the CPU (widths of 64 to 384)."""
_PLAIN_LAYERS = {"full_attention", "sliding_attention"}


def can_pack(llm: nn.Module, layouts: Sequence[Layout]) -> bool:
    """Tell whether tokens of a causal language model meet in plain causal attention only, within these lengths.

    That leaves out state-space layers and convolutions, which would read across sequences, attention with a soft cap
    or sinks, and windows shorter than the longest sequence.
    """
    config: Any = llm.config
    window = getattr(config, "sliding_window", None)
    return (
        bool(getattr(llm, "_supports_attention_backend", False) and getattr(llm, "_supports_sdpa", False))
        and not getattr(llm, "_is_stateful", False)
        and _PLAIN_LAYERS.issuperset(getattr(config, "layer_types", None) or ())
        and (window is None or max(layout.longest for layout in layouts) <= window)
    )


class PackedRow:
    """Sequences of K kinds in one row.

    Attributes:
        groups: what attention takes at a time, in the order of the row.
        ends: (S + 1,) int32, where the sequences of all kinds end in the row, from 0.
        longest: tokens of the longest sequence.
    """

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self.groups = [group for layout in layouts for group in attention_groups(layout)]
        lengths = torch.cat([layout.lengths for layout in layouts])
        self.ends = F.pad(lengths.cumsum(0), (1, 0)).int()
        self.longest = max(layout.longest for layout in layouts)


def attention_groups(layout: Layout) -> list[Layout]:
    """The sequences of a kind together, or on the CPU each alone where padding costs more than calls."""
    if not layout.lengths.is_cpu:
        return [layout]
    padding = len(layout.lengths) * layout.longest**2 - int(layout.lengths.square().sum())
    return layout.sequences() if padding > CALL * len(layout.lengths) else [layout]


def join(padded: Sequence[Tensor], layouts: Sequence[Layout]) -> Tensor:
    """Tensors (B, T, …) of different B and T to one row of their real tokens, (N, …)."""
    parts = [layout.take(x) for layout, x in zip(layouts, padded, strict=True)]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def split(row: Tensor, layouts: Sequence[Layout]) -> list[Tensor]:
    """(N, …) to tensors (B, T, …), zero at padding."""
    parts = row.split([len(layout.real) for layout in layouts]) if len(layouts) > 1 else [row]
    return [layout.put(part) for layout, part in zip(layouts, parts, strict=True)]


def packed_hidden_states(decoder: nn.Module, embeds: Sequence[Tensor], layouts: Sequence[Layout]) -> list[Tensor]:
    """Final hidden states of K kinds of sequences from one pass: the same as K padded passes.

    Args:
        decoder: the decoder of a Hugging Face causal language model.
        embeds: K tensors (B, T, D) of token embeddings; B and T may differ between kinds.
        layouts: where the real tokens of each kind are; they come first (right padding).

    Returns:
        K tensors (B, T, D), zero at padding.
    """
    packed = PackedRow(layouts)
    with attention_function(decoder.config, NAME):
        hidden = decoder(
            inputs_embeds=join(embeds, layouts).unsqueeze(0),
            position_ids=torch.cat([layout.positions for layout in layouts]).unsqueeze(0),
            use_cache=False,
            packed=packed,
        ).last_hidden_state
    return split(hidden.squeeze(0), layouts)


def grouped_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, packed: PackedRow,
    scaling: float | None = None, dropout: float = 0.0, **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Causal attention within each sequence of a packed row.

    Args:
        module: the attention layer.
        query: (1, H, N, D / H); key and value may have fewer heads.
        key: as query.
        value: as query.
        attention_mask: not used.
        packed: where the N tokens belong.
        scaling: of the products; None: (D / H)^-1/2.
        dropout: share of the attention weights.
        options: handed on.

    Returns:
        (1, N, H, D / H), and None.
    """
    del attention_mask
    row = tuple(x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    dtype = varlen_dtype(query, value, dropout)
    if dtype is not None:
        q, k, v = (x.to(dtype) for x in row)
        grouped = query.shape[1] != key.shape[1]
        output: Any = varlen_attn(
            q, k, v, packed.ends, packed.ends, packed.longest, packed.longest,
            scale=scaling, window_size=(-1, 0), enable_gqa=grouped,
        )  # fmt: skip
        return output.unsqueeze(0), None
    options |= {"scaling": scaling, "dropout": dropout, "is_causal": True}
    outputs = [
        sdpa_attention_forward(module, *(x.transpose(1, 2) for x in part), attention_mask=None, **options)[0]
        for part in zip(*(split(x, packed.groups) for x in row), strict=True)
    ]
    return join(outputs, packed.groups).unsqueeze(0), None


def varlen_dtype(query: Tensor, value: Tensor, dropout: float) -> torch.dtype | None:
    """The type in which the kernel for sequences of different lengths can run, or None.

    It needs an NVIDIA GPU from Ampere on, half precision (autocast's, where it is on), no dropout, and heads of equal
    width, at most 256 and a multiple of 8.
    """
    width = query.shape[-1]
    if not query.is_cuda or dropout or width != value.shape[-1] or width % 8 or width > 256:
        return None
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    new_enough = torch.version.hip is None and torch.cuda.get_device_capability(query.device) >= (8, 0)
    return dtype if new_enough and dtype in (torch.bfloat16, torch.float16) else None


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
