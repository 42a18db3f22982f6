"""Towers of other shapes behind the interface of a Hugging Face vision transformer.

`VisionTower` asks a tower for ``last_hidden_state`` and ``hidden_states`` of (B, T, D), the patches last and in rows,
and its ``config`` for sizes.

Letters: B images, S side in pixels, P side of a patch, T tokens, N patches, D width.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from medgraph.config import ConfigError

TIMM = ("hf-hub:", "local-dir:")
"""Prefixes of the names of timm and open_clip models, as timm spells them."""


@dataclass(frozen=True, slots=True)
class TowerOutput:
    """What a tower returns.

    Attributes:
        last_hidden_state: (B, T, D).
        hidden_states: (B, T, D) by index, those that were asked for.
    """

    last_hidden_state: Tensor
    hidden_states: Mapping[int, Tensor] = field(default_factory=dict)


class PatchInput(nn.Module):
    """SigLIP 2 with native resolution (arXiv:2502.14786), which takes patches with their grid, on square images.

    Args:
        model: `Siglip2VisionModel`; images get the size of its position table.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.grid = math.isqrt(self.config.num_patches)
        self.config.image_size = self.grid * self.config.patch_size

    def forward(self, pixel_values: Tensor, output_hidden_states: Sequence[int] = ()) -> Any:
        """Encode (B, 3, S, S) pixels."""
        size, (batch, *_) = self.config.patch_size, pixel_values.shape
        patches = pixel_values.unflatten(3, (-1, size)).unflatten(2, (-1, size)).permute(0, 2, 4, 3, 5, 1)
        return self.model(
            patches.flatten(3).flatten(1, 2),
            pixel_attention_mask=pixel_values.new_ones(batch, self.grid**2, dtype=torch.long),
            spatial_shapes=torch.full((batch, 2), self.grid, device=pixel_values.device),
            output_hidden_states=output_hidden_states,
        )


class StagedTower(nn.Module):
    """A tower of stages that get coarser (ResNet, ConvNeXt, Swin …): what the last one returns is the patches.

    Args:
        model: returns (B, D, S / P, S / P), or (B, T, D) whose last tokens are a square grid.
        image_size: S.
    """

    def __init__(self, model: nn.Module, image_size: int) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            tokens = self(torch.zeros(1, 3, image_size, image_size)).last_hidden_state
        self.config = SimpleNamespace(
            image_size=image_size, patch_size=image_size // math.isqrt(tokens.shape[1]), hidden_size=tokens.shape[2],
            num_hidden_layers=0,
        )  # fmt: skip

    def forward(self, pixel_values: Tensor, output_hidden_states: Sequence[int] = ()) -> TowerOutput:
        """Encode (B, 3, S, S) pixels; stages have no hidden states of one size, so there are none to ask for."""
        features: Tensor = self.model(pixel_values).last_hidden_state
        return TowerOutput(features.flatten(2).mT if features.dim() == 4 else features)


class TimmTower(nn.Module):
    """A vision transformer of timm, alone or out of an open_clip checkpoint.

    Args:
        trunk: the model, without a head.
    """

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk
        self.config = SimpleNamespace(
            image_size=trunk.patch_embed.img_size[0], patch_size=trunk.patch_embed.patch_size[0],
            hidden_size=trunk.embed_dim, num_hidden_layers=len(trunk.blocks),
        )  # fmt: skip

    def forward(self, pixel_values: Tensor, output_hidden_states: Sequence[int] = ()) -> TowerOutput:
        """Encode (B, 3, S, S) pixels.

        Raises:
            ConfigError: if hidden state 0, which timm does not return, is asked for.
        """
        if not output_hidden_states:
            return TowerOutput(self.trunk.forward_features(pixel_values))
        if 0 in output_hidden_states:
            raise ConfigError("model.connector=dci needs the patch embedding, which timm towers do not return; choose "
                              "sti or sci")  # fmt: skip
        wanted = sorted(set(output_hidden_states))
        last, states = self.trunk.forward_intermediates(
            pixel_values, indices=[index - 1 for index in wanted], norm=False, output_fmt="NLC"
        )
        return TowerOutput(last, dict(zip(wanted, states, strict=True)))


class _TimmStages(nn.Module):
    """A timm model without blocks of one size, for `StagedTower`."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixel_values: Tensor) -> TowerOutput:
        return TowerOutput(self.trunk.forward_features(pixel_values))


def load_timm(name: str, random: bool) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """Load a timm model, or the timm tower inside an open_clip checkpoint such as BiomedCLIP.

    Args:
        name: ``hf-hub:OWNER/NAME`` or ``local-dir:PATH``.
        random: keep the architecture only.

    Returns:
        The tower, channel means and standard deviations.

    Raises:
        ConfigError: if timm is missing, or the open_clip checkpoint has a tower of its own instead of timm's.
    """
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(f"model.vision={name}: needs timm; pip install 'medgraph[timm]'")
    import timm

    config = _find(name, "open_clip_config.json")
    if config is None:
        trunk = timm.create_model(name, pretrained=not random, num_classes=0)
    else:
        content = json.loads(Path(config).read_text(encoding="utf-8"))
        architecture = content["model_cfg"]["vision_cfg"].get("timm_model_name")
        if architecture is None:
            raise ConfigError(f"model.vision={name}: its tower is open_clip's own; choose the same model in the format "
                              "of transformers")  # fmt: skip
        data = {key: value for key, value in content.get("preprocess_cfg", {}).items() if key in ("mean", "std")}
        if not random:
            data["file"] = _find(name, "open_clip_model.safetensors") or _find(name, "open_clip_pytorch_model.bin")
        trunk = timm.create_model(architecture, pretrained=not random, pretrained_cfg_overlay=data, num_classes=0)
    data = trunk.pretrained_cfg
    plain = hasattr(trunk, "patch_embed") and isinstance(getattr(trunk, "blocks", None), nn.Sequential | nn.ModuleList)
    tower = TimmTower(trunk) if plain else StagedTower(_TimmStages(trunk), data["input_size"][-1])
    return tower, tuple(data["mean"]), tuple(data["std"])


def _find(name: str, file: str) -> str | None:
    from transformers.utils.hub import cached_file

    return cached_file(name.split(":", 1)[1], file, _raise_exceptions_for_missing_entries=False)


def adapt_tower(model: Any, image_size: int | None) -> nn.Module:
    """Give a Hugging Face vision model the interface of a vision transformer, and its images a size.

    Args:
        model: the model.
        image_size: side in pixels by its processor, if that says one: of towers that interpolate their positions
            (DINOv2) the configuration has the largest size, not the usual one.

    Raises:
        ConfigError: if no size is known, or images are not square.
    """
    config, kind = model.config, type(model).__name__
    if config.model_type == "siglip2_vision_model":
        return PatchInput(model)
    side = image_size or square_side(getattr(config, "image_size", None), kind)
    if side is None:
        raise ConfigError(f"{kind}: neither its config.json nor a preprocessor_config.json gives a size for images; "
                          "add image_size to the former")  # fmt: skip
    if hasattr(config, "depths"):
        return StagedTower(model, side)
    config.image_size = side
    return model


def square_side(size: Any, source: str) -> int | None:
    """Side of square images from any of the spellings that Hugging Face configurations have.

    Args:
        size: number, pair, or dictionary of height and width or shortest_edge.
        source: what has it, for messages.

    Raises:
        ConfigError: if height and width differ.

    Example:
        >>> square_side({"shortest_edge": 224}, "x"), square_side([32, 32], "x"), square_side(None, "x")
        (224, 32, None)
    """
    if isinstance(size, dict):
        size = size.get("shortest_edge") or (size.get("height"), size.get("width"))
    sides = {size} if isinstance(size, int) or size is None else set(size)
    if len(sides) > 1:
        raise ConfigError(f"{source}: takes images of {size} pixels; only square ones are supported")
    return sides.pop()
