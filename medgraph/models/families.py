"""What the families of image-text-to-text models do differently: their tower's input, image tokens, decoder's context.

A new family is one `Family` in ``FAMILIES``, with a tower of its own where pixels are arranged in another way.

Letters: B images, S side in pixels, N tokens of an image, D width of the language model, R rows of text, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.vision_utils import get_vision_position_ids

Context = Callable[[Any, Tensor, Tensor], dict[str, Any]]
"""Model configuration, (R, T) token ids and (B, N, D) image tokens to keyword arguments of the model."""


class WholeTower(nn.Module):
    """The vision tower of a whole model, for images of one size.

    Images come as uint8 and are normalised here, on the device.

    Args:
        model: the tower.
        image_size: S.
        mean: three channel means for values in [0, 1].
        std: three channel standard deviations.

    Attributes:
        num_tokens: places that an image takes in a text, the marks around it included.
        tiles: of equal size; what an image shows is in the first.
    """

    mean: Tensor
    std: Tensor
    num_tokens: int
    tiles: int = 1

    def __init__(self, model: nn.Module, image_size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model, self.image_size = model, image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Encode (B, 3, S, S) uint8 images to features (B, patches, width)."""
        dtype = next(self.model.parameters()).dtype
        return self.encode(**self.inputs(((images.float() / 255 - self.mean) / self.std).to(dtype)))

    def inputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """Arguments of ``encode`` for normalised (B, 3, S, S) images, named as the model's own processor does."""
        return {"pixel_values": pixels}

    def encode(self, **inputs: Tensor) -> Tensor:
        """Features of images as ``inputs`` returns them."""
        features: Tensor = self.model(**inputs).last_hidden_state
        return features

    def _freeze_unused(self) -> None:
        """Freeze what takes no part, such as a pooling head: an optimiser would keep no state for it."""
        images = torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8, device=self.mean.device)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with torch.enable_grad():
            used = torch.autograd.grad(self(images).float().sum(), trained, allow_unused=True)
        for parameter, gradient in zip(trained, used, strict=True):
            parameter.requires_grad_(gradient is not None)


# --------------------------------------------------------------------------------------------------------------------
# Gemma 3, MedGemma


def _gemma_context(config: Any, ids: Tensor, images: Tensor) -> dict[str, Any]:
    """Image tokens that attend to each other in both directions."""
    features = BaseModelOutputWithPooling(pooler_output=images)
    return {"mm_encoder_outputs": {"image": features}, "token_type_ids": (ids == config.image_token_id).long()}


# --------------------------------------------------------------------------------------------------------------------
# Qwen2-VL, Qwen2.5-VL


class QwenTower(WholeTower):
    """Patches in the order of the groups of 2 x 2 that the projector merges, each twice for two frames."""

    def inputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """Patches and their grid, which stays on the CPU: the tower asks for its numbers."""
        config: Any = self.model.config
        patch, merge, frames = config.patch_size, config.spatial_merge_size, config.temporal_patch_size
        side = self.image_size // patch
        blocks = pixels.unflatten(3, (side // merge, merge, patch)).unflatten(2, (side // merge, merge, patch))
        patches = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(*[-1] * 6, frames, -1, -1)
        grid = torch.tensor([[1, side, side]], device="cpu").repeat(len(pixels), 1)
        return {"pixel_values": patches.reshape(len(pixels) * side**2, -1), "image_grid_thw": grid}

    def encode(self, **inputs: Tensor) -> Tensor:
        """Features of 2 x 2 patches side by side."""
        config: Any = self.model.config
        patches, grid = inputs["pixel_values"], inputs["image_grid_thw"]
        with torch.device("cpu"):
            positions = get_vision_position_ids(grid, config.spatial_merge_size).to(patches.device)
        features: Tensor = self.model(patches, grid_thw=grid, position_ids=positions).pooler_output
        return features.unflatten(0, (len(grid), -1))


class _Group(nn.Module):
    """Stands in the tower for the projector: puts the patches that it merges side by side."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, patches: Tensor) -> Tensor:
        return patches.reshape(-1, self.size * patches.shape[-1])


class _Merger(nn.Module):
    """The projector that was in the tower: (B, N, merged patches) to (B, N, D)."""

    def __init__(self, merger: nn.Module, size: int) -> None:
        super().__init__()
        self.merger, self.size = merger, size

    def forward(self, groups: Tensor) -> Tensor:
        merged: Tensor = self.merger(groups.unflatten(-1, (self.size, -1)).flatten(0, 2))
        return merged.unflatten(0, groups.shape[:2])


def _qwen_projector(tower: Any, inner: Any) -> nn.Module:
    inner.visual = None
    size = tower.config.spatial_merge_size**2
    merger, tower.merger = tower.merger, _Group(size)
    return _Merger(merger, size)


def _qwen_context(config: Any, ids: Tensor, images: Tensor) -> dict[str, Any]:
    """Positions of image tokens by row and column."""
    side = math.isqrt(images.shape[1]) * config.vision_config.spatial_merge_size
    return {
        "mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=list(images))},
        "mm_token_type_ids": (ids == config.image_token_id).int(),
        "image_grid_thw": ids.new_tensor([[1, side, side]]).repeat(len(images), 1),
    }


# --------------------------------------------------------------------------------------------------------------------
# Llama 3.2 Vision


class MllamaTower(WholeTower):
    """One tile an image; the tower wants the places of the others filled, and masks them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        config: Any = self.model.config
        self.tiles = config.max_num_tiles

    def inputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """Tiles, the shape of the image in tiles (1: a single one), and which tiles are real."""
        ids = torch.ones(len(pixels), 1, dtype=torch.long, device=pixels.device)
        return {
            "pixel_values": F.pad(pixels[:, None, None], (0, 0) * 3 + (0, self.tiles - 1)),
            "aspect_ratio_ids": ids,
            "aspect_ratio_mask": F.pad(ids[:, None], (0, self.tiles - 1)),
        }

    def encode(self, **inputs: Tensor) -> Tensor:
        """Features of all tiles."""
        features: Tensor = self.model(**inputs).last_hidden_state
        return features.flatten(1, 3)


class _Ready(nn.Module):
    """Stands in the inner model for the tower: the states that it would return come in the place of pixels.

    Args:
        tower: the real one.
    """

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.num_patches: int = tower.num_patches

    def forward(self, pixel_values: Tensor, **others: Tensor) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=pixel_values)


def _mllama_projector(tower: Any, inner: Any) -> nn.Module:
    projector: nn.Module = inner.multi_modal_projector
    inner.vision_model, inner.multi_modal_projector = _Ready(tower), nn.Identity()
    return projector


def _mllama_context(config: Any, ids: Tensor, images: Tensor) -> dict[str, Any]:
    """Cross attention of each token to the first tile of the last image before it.

    In transformers a token before any image sees the mean of all of them, and of what fills up rows with fewer images
    than others: blank images there, zeros here.
    """
    tiles = config.vision_config.max_num_tiles
    marks = ids == config.image_token_id
    counts, seen = marks.sum(1), marks.cumsum(1)
    slots = torch.arange(int(counts.max()), device=ids.device)
    states = images.new_zeros(len(ids), len(slots), *images.shape[1:])
    states = states.masked_scatter((slots < counts[:, None])[..., None, None], images)
    return {
        "pixel_values": states.unflatten(2, (tiles, -1)),
        "aspect_ratio_ids": torch.ones_like(counts),
        "cross_attention_mask": F.pad((seen[..., None] == slots + 1).long()[..., None], (0, tiles - 1)),
    }


# --------------------------------------------------------------------------------------------------------------------


def _beside(tower: Any, inner: Any) -> nn.Module:
    """Take the projector that stands beside the tower; the model asks for neither of them."""
    del tower
    projector: nn.Module = inner.multi_modal_projector
    inner.vision_tower = inner.multi_modal_projector = None
    return projector


@dataclass(frozen=True, slots=True)
class Family:
    """How one family takes images.

    Attributes:
        token: what stands for one image token in a text.
        count: how often ``token`` stands for an image of a size.
        context: arguments of the model for texts with images.
        before: text before the image tokens.
        after: text behind them.
        vision: name of the tower in the inner model.
        tower: its wrapper.
        projector: takes the projector out of the tower or the inner model.
    """

    token: str
    count: Callable[[Any, int], int]
    context: Context
    before: str = ""
    after: str = ""
    vision: str = "vision_tower"
    tower: type[WholeTower] = WholeTower
    projector: Callable[[Any, Any], nn.Module] = _beside


_QWEN = Family(
    token="<|image_pad|>",
    count=lambda config, side: (
        (side // config.vision_config.patch_size // config.vision_config.spatial_merge_size) ** 2
    ),
    before="<|vision_start|>",
    after="<|vision_end|>",
    context=_qwen_context,
    vision="visual",
    tower=QwenTower,
    projector=_qwen_projector,
)

FAMILIES: dict[str, Family] = {
    "gemma3": Family(
        token="<image_soft_token>",
        count=lambda config, side: config.mm_tokens_per_image,
        before="\n\n<start_of_image>",
        after="<end_of_image>\n\n",
        context=_gemma_context,
    ),
    "mllama": Family(
        token="<|image|>",
        count=lambda config, side: 1,
        context=_mllama_context,
        vision="vision_model",
        tower=MllamaTower,
        projector=_mllama_projector,
    ),
    "qwen2_5_vl": _QWEN,
    "qwen2_vl": _QWEN,
}
"""Families by ``model_type``."""
