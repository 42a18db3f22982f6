"""Vision towers: any Hugging Face or timm model, cut behind the last layer that is used.

Letters: B images, S side in pixels, N tokens and D width of the features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medgraph.config import ConfigError
from medgraph.models.connectors import ONE_LAYER, Connector
from medgraph.models.towers import TIMM, TimmTower, adapt_tower, load_timm, square_side

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class VisionTower(nn.Module):
    """Patch features of a vision transformer: one hidden state, or what a connector makes of several.

    Images come as uint8 and are normalised here, on the device. Blocks behind the last used hidden state are removed,
    and parameters that no longer take part (a final norm, a pooler) are frozen: an optimiser would keep no state for
    them, and distributed strategies stumble over that.

    Args:
        model: a Hugging Face vision model with `config.image_size` and `config.patch_size`, or one of
            `medgraph.models.towers`.
        layer: the hidden state to use, negative, as in ``hidden_states[layer]``; -2 in LLaVA. -1 is the tower's own
            output, with the final norm where the architecture has one there.
        mean: three channel means for values in [0, 1].
        std: three channel standard deviations.
        connector: pools the patches and adds other layers.
        raw: take ``hidden_states[-1]`` for layer -1 too, without a final norm (llava-hf).

    Raises:
        ConfigError: if the layer does not exist, the model returns fewer features than patches, or the connector does
            not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        layer: int,
        mean: tuple[float, ...] = CLIP_MEAN,
        std: tuple[float, ...] = CLIP_STD,
        connector: Connector = ONE_LAYER,
        raw: bool = False,
    ) -> None:
        super().__init__()
        config: Any = model.config
        blocks = tower_blocks(model)
        keep = len(blocks) + 1 + layer
        if layer >= 0 or keep < min(1, len(blocks)):
            limit = f"-{len(blocks)} to -1 for {len(blocks)} blocks" if blocks else "-1 for a tower of stages"
            raise ConfigError(f"model.vision_layer={layer}: expected {limit}")
        self.layers = [*([keep] if layer < -1 or raw else []), *connector.others(len(blocks))]
        del blocks[max([keep, *self.layers]) :]
        config.num_hidden_layers = len(blocks)
        self.model, self.normed, self.connector = model, layer == -1 and not raw, connector
        self.image_size = int(config.image_size)
        self.patches = (self.image_size // int(config.patch_size)) ** 2
        self.num_tokens = connector.num_tokens(self.patches)
        self.width = connector.width(int(config.hidden_size))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._freeze_unused()

    def _freeze_unused(self) -> None:
        image = torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8, device=self.mean.device)
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        with torch.enable_grad():
            features = self(image)
            used = torch.autograd.grad(features.float().sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, used, strict=True):
            parameter.requires_grad_(gradient is not None)

    def forward(self, images: Tensor) -> Tensor:
        """Encode (B, 3, S, S) uint8 images to (B, N, D) features, without class or register tokens."""
        dtype = next(self.model.parameters()).dtype
        pixels = ((images.float() / 255 - self.mean) / self.std).to(dtype)
        output = self.model(pixel_values=pixels, output_hidden_states=self.layers)
        states = [output.hidden_states[index] for index in self.layers]
        if self.normed:
            states.insert(0, output.last_hidden_state)
        if states[0].shape[1] < self.patches:
            raise ConfigError(
                f"{type(self.model).__name__} returns {states[0].shape[1]} features for {self.patches} patches"
            )
        return self.connector([state[:, -self.patches :] for state in states])


def tower_blocks(model: nn.Module) -> Any:
    """The transformer blocks of a tower, a list that can be cut; empty for a tower of stages."""
    if isinstance(model, TimmTower):
        return model.trunk.blocks
    count = model.config.num_hidden_layers  # type: ignore[union-attr]
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count)
    return next(lists, nn.ModuleList())


def load_vision(name: str, layer: int, random: bool, connector: Connector = ONE_LAYER) -> VisionTower:
    """Load a vision tower by hub name or local path, alone or inside a CLIP-style dual encoder.

    Args:
        name: of a Hugging Face model; of a timm or open_clip model behind ``hf-hub:`` or ``local-dir:``.
        layer: see `VisionTower`.
        random: keep the architecture only.
        connector: see `VisionTower`.

    Raises:
        ConfigError: if the model does not read images, or not square ones.
    """
    from transformers import AutoConfig, AutoModel

    if name.startswith(TIMM):
        tower, mean, std = load_timm(name, random)
        return VisionTower(tower, layer, mean, std, connector)
    if random:
        model = AutoModel.from_config(AutoConfig.from_pretrained(name), dtype=torch.float32)
    else:
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
    model = getattr(model, "vision_model", model)
    if model.main_input_name != "pixel_values":
        raise ConfigError(f"model.vision={name}: {type(model).__name__} does not read images")
    mean, std, side = image_settings(name)
    return VisionTower(adapt_tower(model, side), layer, mean, std, connector)


def image_settings(name: str) -> tuple[tuple[float, ...], tuple[float, ...], int | None]:
    """Channel means, standard deviations and image side by the processor beside a model; CLIP's and None without one.

    Args:
        name: hub name or path.

    Raises:
        ConfigError: if its images are not square.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        processor, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:
        processor = {}
    size = processor.get("crop_size" if processor.get("do_center_crop") else "size")
    mean, std = processor.get("image_mean") or CLIP_MEAN, processor.get("image_std") or CLIP_STD
    return tuple(mean), tuple(std), square_side(size, type(processor).__name__)
