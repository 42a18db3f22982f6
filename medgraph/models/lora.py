"""Low-rank adapters through peft: put into a model, and folded into its weights.

LoRA (arXiv:2106.09685) adds ``alpha / rank * B A`` to a linear layer, with A drawn and B zero, so that a new adapter
changes nothing; DoRA (arXiv:2402.09353) also learns the length of each row of the sum.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from torch import Tensor, nn

from medgraph.config import ConfigError, LoraOptions
from medgraph.data.collate import Tokens
from medgraph.models.interleaved import collate_prompts
from medgraph.models.medvlm import MedVLM

MERGE_TOLERANCE = 1e-4
"""Largest change of a logit through merging, as a share of the largest logit; float32 stays a hundred times below."""


def add_lora(vlm: MedVLM, options: LoraOptions) -> None:
    """Put adapters into the linear layers of a model; rank 0 changes nothing.

    Training such a part then trains the adapters alone (`MedVLM.trained_parameters`).

    Args:
        vlm: the model; changed in place.
        options: which layers, how wide. A is drawn from torch's generator.

    Raises:
        ConfigError: if peft is missing, or a target is not a linear layer of the parts.
    """
    if options.rank == 0:
        return
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(f"model.lora.rank={options.rank}: needs peft; pip install 'medgraph[lora]'")
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    layers = {part: _linear_layers(vlm, part) for part in options.parts}
    for target in options.targets:
        if not any(_is_called(layer, target) for names in layers.values() for layer in names):
            known = sorted({layer.rpartition(".")[2] for names in layers.values() for layer in names})
            raise ConfigError(f"model.lora.targets={target}: no linear layer of {' or '.join(layers)} is called so; "
                              f"there are {', '.join(known)}")  # fmt: skip
    for part, names in layers.items():
        chosen = [layer for layer in names if any(_is_called(layer, target) for target in options.targets or [layer])]
        if not chosen:
            raise ConfigError(f"model.lora.parts={part}: it has none of model.lora.targets={options.targets}; leave it "
                              "out")  # fmt: skip
        adapters = LoraConfig(
            r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, use_dora=options.dora,
            target_modules=chosen, fan_in_fan_out=isinstance(getattr(vlm, part).get_submodule(chosen[0]), Conv1D),
        )  # fmt: skip
        inject_adapter_in_model(adapters, getattr(vlm, part))


def _linear_layers(vlm: MedVLM, part: str) -> list[str]:
    """Names of the linear layers of a part, but for the output embedding and what a tower does not use."""
    from transformers.pytorch_utils import Conv1D

    module: nn.Module = getattr(vlm, part)
    head = vlm.llm.get_output_embeddings()  # type: ignore[operator]
    return [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Linear, Conv1D))
        and layer is not head
        and (part == "llm" or layer.weight.requires_grad)
    ]


def _is_called(layer: str, target: str) -> bool:
    return f".{layer}".endswith(f".{target}")


@torch.no_grad()
def merge_lora(vlm: MedVLM, tolerance: float = MERGE_TOLERANCE) -> float:
    """Fold the adapters into the weights, so that a plain model with the same outputs is left.

    Args:
        vlm: a model with or without adapters; changed in place, afterwards in evaluation mode.
        tolerance: largest change of a logit that is accepted, as a share of the largest logit.

    Returns:
        The change that was found, on an image with a question; 0 for a model without adapters.

    Raises:
        ValueError: if the logits change more than that.
    """
    vlm.eval()
    if not any(".lora_" in name for name, _ in vlm.named_parameters()):
        return 0.0
    from peft.tuners.lora import LoraLayer

    before = _logits(vlm)
    for part in (vlm.vision, vlm.llm):
        for name, layer in list(part.named_modules()):
            if isinstance(layer, LoraLayer):
                layer.merge(safe_merge=True)
                owner, _, leaf = name.rpartition(".")
                setattr(part.get_submodule(owner), leaf, layer.get_base_layer())
        vars(part).pop("peft_config", None)
    change = float((_logits(vlm) - before).abs().max() / before.abs().max())
    if not change <= tolerance:
        raise ValueError(f"merging the adapters changes a logit by {change:.1e} of the largest one, more than "
                         f"{tolerance:.1e}: the weights are too coarse to hold them; build the model in float32, with "
                         "model.quantize=none")  # fmt: skip
    return change


def _logits(vlm: MedVLM) -> Tensor:
    """(T, V) logits for a fixed image of noise and a question."""
    side = vlm.vision.image_size
    image = np.random.default_rng(0).integers(256, size=(side, side, 3), dtype=np.uint8)
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, vlm.num_image_tokens + 100)
    batch = collate_prompts([([image], "USER: <image>\nWhat does the image show? ASSISTANT: A lung.")], tokens)
    batch = batch.to(next(vlm.parameters()).device)
    assert batch.images is not None
    hidden = vlm.hidden_states({"question": (batch.prompts, vlm.encode_images(batch.images))})["question"]
    return vlm.llm.get_output_embeddings()(hidden[0]).float()  # type: ignore[operator]
