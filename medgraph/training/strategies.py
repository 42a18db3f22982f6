"""How a model is spread over devices: copied (DDP) or cut into shards (FSDP).

A stage trains a sharded copy and hands its weights back when it ends, so that before and after training every rank
holds the whole model, as in a single process: stages with other trainable parts, evaluation and saving know nothing of
shards.
"""

from __future__ import annotations

import copy
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from medgraph.config import TrainerConfig
from medgraph.models.blocks import transformer_blocks

M = TypeVar("M", bound=nn.Module)
STEPS = ("training_step", "validation_step")
"""What a sharded module does between gathering and dropping its weights."""


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 whose distributed checkpoints are whole or absent."""

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Save to one file, or let every rank save its shards to a folder that gets its name when all are done."""
        if not self._save_distributed_checkpoint:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        folder = Path(self.broadcast(filepath))
        part = folder.with_name(f"{folder.name}.part")
        if self.is_global_zero:
            for leftover in (part, folder):
                shutil.rmtree(leftover, ignore_errors=True)
        self.barrier()
        super().save_checkpoint(checkpoint, part)
        self.barrier()
        if self.is_global_zero:
            os.replace(part, folder)
        self.barrier()


def make_strategy(options: TrainerConfig, vlm: nn.Module) -> Strategy | str:
    """The strategy of a configuration.

    Args:
        options: of the trainer; ``devices`` is a number.
        vlm: the model; classic FSDP wraps by the class of its decoder layers.
    """
    ranks = int(options.devices) * options.num_nodes
    if options.strategy == "fsdp":
        return ShardedStrategy(ranks, 1, save_distributed_checkpoint=options.sharded_checkpoints)
    if options.strategy == "fsdp1":
        return FSDPStrategy(auto_wrap_policy={type(layer) for layer in layers(vlm)}, state_dict_type="full")
    if ranks > 1:
        # buffers change on all ranks alike
        return DDPStrategy(forward_sync_buffers=False, gradient_as_bucket_view=True)
    return "auto"


def layers(vlm: Any) -> list[nn.Module]:
    """The blocks of a model's language model."""
    tower = set(vlm.vision.modules())
    return [block for block in transformer_blocks(vlm) if block not in tower]


def light_copy(module: M) -> M:
    """A deep copy with parameters of its own that share the memory of the original's."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in module.parameters()}
    return copy.deepcopy(module, memo)


def shard(module: nn.Module, vlm: Any, mesh: DeviceMesh) -> None:
    """Cut a training module into shards by FSDP2: each decoder layer, and the rest; a frozen tower stays whole.

    Transformers' models are not sharded as such: they find their hidden states by the class of a module, which FSDP2
    changes.

    Args:
        module: the root, whose steps are the forward passes.
        vlm: the model in it.
        mesh: the ranks, one dimension.
    """
    for layer in layers(vlm):
        fully_shard(layer, mesh=mesh)
    tower = list(vlm.vision.parameters())
    fully_shard(module, mesh=mesh, ignored_params=set(() if any(p.requires_grad for p in tower) else tower))
    for name in STEPS:
        register_fsdp_forward_method(module, name)
    # ranks whose answers end early go on until the longest one ends, as all must gather the same layers
    vlm.llm._is_fsdp_managed_module = True


def name_parameters(state: dict[str, Any], optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
    """Key an optimiser's state by the names of parameters, which plain and sharded optimisers both can read.

    Args:
        state: what is saved of the optimiser, by numbers; changed in place. Empty on ranks that do not save.
        optimizer: whose state it is.
        module: whose parameters it optimises.
    """
    if not state:
        return
    names = {id(p): name.replace("_fsdp_wrapped_module.", "") for name, p in module.named_parameters()}
    known: dict[int, str] = {}
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        mine = [names[id(parameter)] for parameter in group["params"]]
        known |= zip(saved["params"], mine, strict=True)
        saved["params"] = mine
    state["state"] = {known[number]: value for number, value in state["state"].items()}


def hand_back(trained: nn.Module, whole: nn.Module, strategy: Strategy) -> None:
    """Copy the weights of a sharded copy to the model it was made of, on all ranks.

    Args:
        trained: what `light_copy` returned, now sharded and trained.
        whole: the model it is a copy of.
        strategy: that trained it.
    """
    for module in trained.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    gathered: AbstractContextManager[None] = nullcontext()
    if isinstance(strategy, FSDPStrategy):
        assert strategy.model is not None
        gathered = FullyShardedDataParallel.summon_full_params(strategy.model, writeback=False)
    with gathered, torch.no_grad():
        for parameter, target in zip(trained.parameters(), whole.parameters(), strict=True):
            if parameter.requires_grad:
                target.copy_(parameter.full_tensor() if isinstance(parameter, DTensor) else parameter)
        for buffer, kept in zip(trained.buffers(), whole.buffers(), strict=True):
            kept.copy_(buffer)
