"""What a training step costs: floating-point operations by counting, bytes by following shapes on the meta device.

A matrix with P weights costs 2P operations a token in forward, as many again for the gradient of its input and as many
for that of its weights. Causal attention over T tokens costs 2 T^2 D a layer, twice that in backward. Norms, rotations,
softmax and the alignment head are left out: they are below a percent of a step of a large model.

Letters: N tokens of a pass, T of a sequence, D width of attention.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from medgraph.models.blocks import Checkpointing, prepare_blocks, transformer_blocks
from medgraph.models.medvlm import MedVLM
from medgraph.models.packing import attention_function
from medgraph.training.workload import Workload

STAND_IN = "medgraph_shapes"
NF4_BYTES = 4.127 / 8
"""Of a weight in NF4 with constants quantised a second time (QLoRA, arXiv:2305.14314)."""


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of one batch on one device.

    Attributes:
        forward: of the forward pass.
        backward: of the backward pass, without what is computed again.
        again: what checkpointing computes a second time.
    """

    forward: float
    backward: float
    again: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.forward + self.backward + self.again


def step_flops(vlm: MedVLM, load: Workload, batch_size: int, checkpointing: Checkpointing = "none") -> Flops:
    """Count the operations of one batch.

    Args:
        vlm: the model, its trainable parts chosen; may be on the meta device.
        load: tokens of the data.
        batch_size: conversations.
        checkpointing: ``full`` runs blocks twice; what ``selective`` computes again costs next to nothing.
    """
    vision, projector = (_weights(part) for part in (vlm.vision, vlm.projector))
    head: Any = vlm.llm.get_output_embeddings()  # type: ignore[operator]
    language, output = _weights(vlm.llm, without=head), _weights(head)
    learns = [any(p.requires_grad for p in part.parameters()) for part in (vlm.vision, vlm.projector, vlm.llm)]
    patches = getattr(vlm.vision, "patches", vlm.vision.num_tokens)
    seen = _products(vision, batch_size * (patches + 1), learns[0])
    joined = _products(projector, batch_size * vlm.num_image_tokens, any(learns[:2]))
    forward, backward = _language(vlm, load, language, any(learns))
    said = _products(output, float(load.supervised.mean()), any(learns))
    again = batch_size * forward + (seen[0] if learns[0] else 0.0)
    return Flops(
        seen[0] + joined[0] + batch_size * (forward + said[0]),
        seen[1] + joined[1] + batch_size * (backward + said[1]),
        again if checkpointing == "full" else 0.0,
    )


def _language(vlm: MedVLM, load: Workload, weights: tuple[int, int], learns: bool) -> tuple[float, float]:
    """Forward and backward operations of the language model's layers for one conversation and its views."""
    config: Any = vlm.llm.config.get_text_config()  # type: ignore[union-attr, operator]
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    forward = backward = 0.0
    for name, lengths in load.lengths.items():
        share, learnt = (1.0, learns) if name.startswith("lm") else _text_share(vlm, name, learns)
        there, back = _products(weights, float(lengths.mean()), learnt)
        attention = 2 * width * config.num_hidden_layers * float((lengths.astype(float) ** 2).mean())
        forward += share * (there + attention)
        backward += share * (back + (2 * attention if learnt else 0.0))
    return forward, backward


def _text_share(vlm: MedVLM, view: str, learns: bool) -> tuple[float, bool]:
    """Share of the layers that a view's texts pass, and whether gradients come back through them."""
    if vlm.text_source == "pooled" and view == "answer":
        return 0.0, False
    if vlm.text_source == "truncated":
        layers = vlm.llm.config.get_text_config().num_hidden_layers  # type: ignore[union-attr, operator]
        return (vlm.text_layers or layers // 4) / layers, learns
    return 1.0, learns and vlm.text_source != "frozen"


def _products(weights: tuple[int, int], tokens: float, flows: bool) -> tuple[float, float]:
    """Forward and backward operations of matrices with (all, trainable) weights for some tokens."""
    every, trainable = weights
    return 2 * every * tokens, 2 * ((every if flows else 0) + trainable) * tokens


def _weights(module: nn.Module, without: nn.Module | None = None) -> tuple[int, int]:
    """Weights of the linear layers and convolutions of a module: all, and those that train."""
    found = [m.weight for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m is not without]
    return sum(w.numel() for w in found), sum(w.numel() for w in found if w.requires_grad)


@dataclass(frozen=True, slots=True)
class States:
    """Bytes that a stage holds on one device from its first step to its last.

    Attributes:
        weights: parameters and buffers.
        gradients: of what trains.
        optimizer: AdamW's two moments and its counters.
        gathered: with FSDP, whole weights of the parts at work.
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.gathered


def state_bytes(
    vlm: MedVLM, head: nn.Module | None = None, *, half: bool = False, quantized: bool = False, shards: int = 1
) -> States:
    """Count the bytes of weights, gradients and AdamW.

    Args:
        vlm: the model, its trainable parts chosen; may be on the meta device.
        head: alignment head that trains along.
        half: everything in 16 bits.
        quantized: the language model's frozen matrices in NF4.
        shards: devices among which FSDP cuts all but a frozen tower.
    """
    packed = {id(m.weight) for m in vlm.llm.modules() if isinstance(m, nn.Linear)} if quantized else set()
    packed -= {id(vlm.llm.get_output_embeddings().weight)}  # type: ignore[operator]
    frozen_tower = not any(p.requires_grad for p in vlm.vision.parameters())
    uncut = {id(p) for p in vlm.vision.parameters()} if frozen_tower else set()
    blocks = {id(p): block for block in transformer_blocks(vlm.llm) for p in block.parameters()}
    everything = nn.ModuleList([vlm] if head is None else [vlm, head])
    weights, gradients, optimizer = sum(b.numel() * b.element_size() for b in everything.buffers()), 0, 0
    whole: dict[nn.Module | None, int] = defaultdict(int)
    for p in everything.parameters():
        size = 2 if half else p.element_size()
        count = p.numel() if id(p) in uncut else -(-p.numel() // shards)
        weights += round(count * (NF4_BYTES if id(p) in packed and not p.requires_grad else size))
        if id(p) not in uncut:
            whole[blocks.get(id(p))] += p.numel() * size
        if p.requires_grad:
            gradients += count * size
            optimizer += 2 * count * size + 4
    layer = max((size for block, size in whole.items() if block is not None), default=0)
    return States(weights, gradients, optimizer, whole[None] + 2 * layer if shards > 1 else 0)


def activation_bytes(vlm: MedVLM, images: int, tokens: int, checkpointing: Checkpointing = "none") -> int:
    """Bytes that a batch keeps for its backward pass, found by running shapes through the model.

    Counted are tower, projector and language model; the language model sees one row, as packed.

    Args:
        vlm: the model on the meta device, in the type it computes in, its trainable parts chosen.
        images: of the batch.
        tokens: of all its sequences.
        checkpointing: what blocks keep.
    """
    prepare_blocks(vlm)
    kept: dict[nn.Module | None, dict[int, torch.UntypedStorage]] = defaultdict(dict)
    seen = {p.untyped_storage()._cdata for p in (*vlm.parameters(), *vlm.buffers())}
    inputs: dict[nn.Module, Tensor] = {}
    at_work: list[nn.Module] = []

    def enter(block: nn.Module, args: tuple[Any, ...]) -> None:
        at_work.append(block)
        inputs[block] = args[0]

    def leave(*_: Any) -> None:
        at_work.pop()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            kept[at_work[-1] if at_work else None][storage._cdata] = storage  # held: no other one gets its number
        return tensor

    with ExitStack() as stack:
        for block in transformer_blocks(vlm):
            stack.callback(block.register_forward_pre_hook(enter).remove)
            stack.callback(block.register_forward_hook(leave).remove)
        stack.enter_context(_stand_in_attention(vlm))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        side = vlm.vision.image_size
        features = vlm.encode_images(torch.empty(images, 3, side, side, dtype=torch.uint8, device="meta"))
        row = torch.empty(1, tokens, vlm.width, dtype=features.dtype, device="meta")
        learns = features.requires_grad or any(p.requires_grad for p in vlm.llm.parameters())
        decoder: Any = vlm.llm.get_decoder()  # type: ignore[operator]
        decoder(inputs_embeds=row.requires_grad_(learns), use_cache=False)
    sizes = {block: sum(storage.nbytes() for storage in storages.values()) for block, storages in kept.items()}
    if checkpointing == "none":
        return sum(sizes.values())
    outside = sizes.pop(None, 0)
    again = {block: x for block, x in inputs.items() if block in sizes}  # a frozen tower's blocks keep nothing
    held = sum(x.nbytes for x in again.values())
    if checkpointing == "selective":
        held += sum(_products_kept(block, x) for block, x in again.items())
    return outside + held + max(sizes.values(), default=0)


def _products_kept(block: nn.Module, x: Tensor) -> int:
    """Bytes of the outputs of a block's matrices and of its attention."""
    features: int = sum(m.out_features for m in block.modules() if isinstance(m, nn.Linear)) + x.shape[-1]
    return x.nbytes // x.shape[-1] * features


def shapes_of(vlm: MedVLM) -> MedVLM:
    """A copy of a model on the meta device: its shapes, and parts that can be chosen to train without touching it."""
    memo: dict[int, Any] = {id(vlm.tokenizer): vlm.tokenizer}
    for p in vlm.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
    for b in vlm.buffers():
        memo[id(b)] = torch.empty_like(b, device="meta")
    return copy.deepcopy(vlm, memo)


@contextmanager
def _stand_in_attention(vlm: MedVLM) -> Iterator[None]:
    """Attention that keeps what a fused kernel keeps; on the meta device it would keep all T x T weights."""
    owners = [m for m in vlm.modules() if isinstance(m, PreTrainedModel)]
    with ExitStack() as stack:
        for owner in owners:
            stack.enter_context(attention_function(owner.config, STAND_IN))
        yield


class _FusedShapes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:3], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError


def _attention_shapes(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    del module, attention_mask, options
    return _FusedShapes.apply(query, key, value), None


AttentionInterface.register(STAND_IN, _attention_shapes)
