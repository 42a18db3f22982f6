"""Where the states of text nodes come from: one exact way, and three cheaper ones that change the mathematics.

With h the language model's final states of a text t alone, and g those of the conversation about image x, in which the
tokens A of its answers are supervised:

=========== ======================================================== ==============================================
packed      mean of h over t (ExGra-Med, arXiv:2410.02615)           the texts join the pass of the conversations
pooled      answer: mean of g over A; extended answer: as packed     no extra sequence for the answer
frozen      as packed, without a gradient to the language model      no backward pass for the texts
truncated   mean of h after the first n layers and the final norm    the texts pass n layers only
=========== ======================================================== ==============================================

``pooled`` answers have seen image and questions, and are those that the conversation asks for: letters of choice
questions, and no answer twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from medgraph.alignment.head import NodeSet
from medgraph.config import ConfigError
from medgraph.data.collate import TokenBatch
from medgraph.data.conversation import IGNORE

if TYPE_CHECKING:
    from medgraph.models.medvlm import MedVLM

TextNodes = Literal["packed", "pooled", "frozen", "truncated"]
POOLED = {"answer": "lm"}
"""Views that ``pooled`` takes from a conversation."""


def read_batch(
    vlm: MedVLM,
    image_tokens: Tensor | None,
    conversations: Mapping[str, TokenBatch],
    texts: Mapping[str, TokenBatch],
    text_ids: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, NodeSet]]:
    """Run the language model over conversations and over the texts of graph nodes.

    Args:
        vlm: the model, with its ``text_source``.
        image_tokens: (B, N, D) tokens of the conversations' images.
        conversations: by name, ``lm`` among them where answers are pooled.
        texts: by view.
        text_ids: (B,) content ids of each view's texts.

    Returns:
        Final hidden states (B, T, D) of the conversations, and the nodes of the texts.
    """
    shared = {view: POOLED[view] for view in texts if vlm.text_source == "pooled" and view in POOLED}
    asked = {name: (tokens, image_tokens) for name, tokens in conversations.items()}
    alone = {view: (tokens, None) for view, tokens in texts.items() if view not in shared}
    if vlm.text_source in ("frozen", "truncated") and alone:
        with torch.no_grad() if vlm.text_source == "frozen" else first_layers(vlm.llm, vlm.text_layers):
            hidden = vlm.hidden_states(alone)
        hidden |= vlm.hidden_states(asked) if asked else {}
    else:
        hidden = vlm.hidden_states(asked | alone)
    nodes = {}
    for view, tokens in texts.items():
        if view in shared:
            labels = conversations[shared[view]].labels
            assert labels is not None
            nodes[view] = vlm.text_nodes(hidden[shared[view]], labels != IGNORE, text_ids[view])
        else:
            nodes[view] = vlm.text_nodes(hidden[view], tokens.mask, text_ids[view])
    return {name: hidden[name] for name in conversations}, nodes


@contextmanager
def first_layers(llm: nn.Module, count: int | None) -> Iterator[None]:
    """Let a causal language model end after its first layers (and its final norm) inside a block.

    Args:
        llm: a Hugging Face causal language model.
        count: layers; None: a quarter of them, at least one.
    """
    decoder: Any = llm.get_decoder()  # type: ignore[operator]
    layers = decoder.layers
    decoder.layers = layers[: max(1, len(layers) // 4) if count is None else count]
    try:
        yield
    finally:
        decoder.layers = layers


def check_layers(llm: nn.Module, count: int | None) -> None:
    """Check that a language model can end after its first layers.

    Raises:
        ConfigError: if it has no list of layers, or fewer.
    """
    layers = getattr(llm.get_decoder(), "layers", None)  # type: ignore[operator]
    if not isinstance(layers, nn.ModuleList):
        raise ConfigError(f"model.text_nodes=truncated: {type(llm).__name__} has no list of layers; use frozen")
    if count is not None and count > len(layers):
        raise ConfigError(f"model.text_layers={count}: the language model has {len(layers)} layers")
