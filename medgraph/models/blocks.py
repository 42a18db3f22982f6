"""How transformer blocks run in training: what they keep for backward, and whether they are compiled.

With checkpointing ``full`` a block keeps its input only; backward then costs another forward pass. ``selective`` also
keeps what is expensive to compute and small, the outputs of matrix products and of attention, and computes norms,
activations, rotations and casts again. Compilation fuses the operators of a block around its attention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts, noop_context_fn
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from medgraph.config import ConfigError
from medgraph.models.packing import NAME, attention_function, grouped_attention

Checkpointing = Literal["none", "selective", "full"]

_KEPT = (
    "mm",
    "addmm",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
"""Operators of aten whose outputs ``selective`` keeps."""


def prepare_blocks(
    model: nn.Module, checkpointing: Checkpointing = "none", compiled: bool = False, backend: str = "inductor"
) -> None:
    """Choose how the transformer blocks of a model run where gradients are wanted, whatever was chosen before.

    Losses and gradients stay the same, dropout included. Where no gradient is wanted, as in generation, blocks run as
    they are. Unlike transformers' own switch this one also works in evaluation mode, in which the blocks of a frozen
    language model are while a projector before them trains, and it computes again with the attention function that
    forward had.

    Args:
        model: a model that contains Hugging Face transformers.
        checkpointing: see the top of this module; ``none`` keeps everything.
        compiled: compile every block. Not with ``selective``, which cannot look into compiled code.
        backend: of ``torch.compile``.

    Raises:
        ConfigError: if there is no block.
    """
    assert not (compiled and checkpointing == "selective")
    blocks = transformer_blocks(model)
    for block in blocks:
        block.__dict__.pop("forward", None)
    if checkpointing == "none" and not compiled:
        return
    if not blocks:
        raise ConfigError(f"trainer.checkpointing={checkpointing} trainer.compile={compiled}: {type(model).__name__} "
                          "has no Hugging Face transformer blocks; use none and false")  # fmt: skip
    if compiled:  # attention, whose shapes change with every batch, stays out: nothing is ever compiled twice
        AttentionInterface.register(NAME, torch.compiler.disable(grouped_attention))
    for block, config in blocks.items():
        forward = block.forward
        training = torch.compile(forward, backend=backend, dynamic=True) if compiled else forward
        if checkpointing != "none":
            training = partial(_recomputing, training, config, _CONTEXTS[checkpointing])
        block.forward = partial(_choose, forward, training)


def transformer_blocks(model: nn.Module) -> dict[nn.Module, Any]:
    """The outermost blocks of all transformers in a model, each with the configuration its attention reads."""
    blocks: dict[nn.Module, Any] = {}
    for owner in model.modules():  # a transformer inside another comes later and has the last word
        if isinstance(owner, PreTrainedModel):
            blocks |= {m: owner.config for m in owner.modules() if isinstance(m, GradientCheckpointingLayer)}
    inner = {part for block in blocks for part in block.modules() if part is not block}
    return {block: config for block, config in blocks.items() if block not in inner}


def _choose(plain: Callable[..., Any], training: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return (training if torch.is_grad_enabled() else plain)(*args, **kwargs)


def _recomputing(
    forward: Callable[..., Any], config: Any, contexts: Callable[[], Any], *args: Any, **options: Any
) -> Any:
    """Run a block and drop its activations; backward runs it again."""
    name = config._attn_implementation  # backward comes after a packed pass has given the model its own function back

    def run(*args: Any) -> Any:
        with attention_function(config, name):
            return forward(*args, **options)

    return checkpoint(run, *args, use_reentrant=False, context_fn=contexts)


def _keep_products() -> Any:
    import torch.nn.attention.varlen  # defines the last operator

    kept = [*(getattr(torch.ops.aten, name).default for name in _KEPT), torch.ops.torch_attn._varlen_attn.default]
    return create_selective_checkpoint_contexts(kept)


_CONTEXTS: dict[str, Callable[[], Any]] = {"selective": _keep_products, "full": noop_context_fn}
