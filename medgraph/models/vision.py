"""Vision towers: any Hugging Face vision transformer, cut behind the last layer that is used.

Letters: B images, S side in pixels, N tokens and D width of the features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medgraph.config import ConfigError
from medgraph.models.connectors import ONE_LAYER, Connector

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class VisionTower(nn.Module):
    """Patch features of a vision transformer: one hidden state, or what a connector makes of several.

    Images come as uint8 and are normalised here, on the device. Blocks behind the last used hidden state are removed,
    and parameters that no longer take part (a final norm, a pooler) are frozen: an optimiser would keep no state for
    them, and distributed strategies stumble over that.

    Args:
        model: a Hugging Face vision model with `config.image_size` and `config.patch_size`.
        layer: the hidden state to use, negative, as in ``hidden_states[layer]``; -2 in LLaVA. -1 is the tower's own
            output, with the final norm where the architecture has one there.
        mean: three channel means for values in [0, 1].
        std: three channel standard deviations.
        connector: pools the patches and adds other layers.

    Raises:
        ConfigError: if the model has no list of blocks, the layer does not exist, it returns fewer features than
            patches, or the connector does not fit.
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
    ) -> None:
        super().__init__()
        config: Any = model.config
        blocks = next((m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) > 1), None)
        if blocks is None:
            raise ConfigError(f"{type(model).__name__} has no list of transformer blocks, so no layer can be chosen")
        keep = len(blocks) + 1 + layer
        if layer >= 0 or keep < 1:
            raise ConfigError(f"model.vision_layer={layer}: expected -{len(blocks)} to -1 for {len(blocks)} blocks")
        self.layers = [*([keep] if layer < -1 else []), *connector.others(len(blocks))]
        del blocks[max([keep, *self.layers]) :]
        self.model, self.layer, self.connector = model, layer, connector
        self.image_size = int(config.image_size)
        self.patches = (self.image_size // int(config.patch_size)) ** 2
        self.num_tokens = connector.num_tokens(self.patches)
        self.width = connector.width(int(config.hidden_size))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._freeze_unused()

    def _freeze_unused(self) -> None:
        image = torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8, device=self.mean.device)
        parameters = list(self.model.parameters())
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
        if self.layer == -1:
            states.insert(0, output.last_hidden_state)
        if states[0].shape[1] < self.patches:
            raise ConfigError(
                f"{type(self.model).__name__} returns {states[0].shape[1]} features for {self.patches} patches; "
                "towers that pool or merge patches are not supported"
            )
        return self.connector([state[:, -self.patches :] for state in states])


def load_vision(name: str, layer: int, random: bool, connector: Connector = ONE_LAYER) -> VisionTower:
    """Load a Hugging Face vision tower by hub name or local path, alone or inside a CLIP-style dual encoder.

    Args:
        name: hub name or path.
        layer: see `VisionTower`.
        random: keep the architecture only.
        connector: see `VisionTower`.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.image_processing_base import ImageProcessingMixin

    if random:
        model = AutoModel.from_config(AutoConfig.from_pretrained(name), dtype=torch.float32)
    else:
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
    try:
        processor, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:
        processor = {}
    mean, std = (tuple(processor.get(key) or default) for key, default in
                 (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD)))  # fmt: skip
    return VisionTower(getattr(model, "vision_model", model), layer, mean, std, connector)
