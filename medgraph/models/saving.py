"""Trained towers and encoders as folders that `model.vision` and Hugging Face load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from medgraph.config import ConfigError
from medgraph.models.vision import VisionTower


def hugging_face_model(tower: VisionTower) -> PreTrainedModel:
    """The Hugging Face model inside a tower.

    Raises:
        ConfigError: if there is none, as in towers of timm.
    """
    model: nn.Module | None = tower.model
    while isinstance(model, nn.Module) and not isinstance(model, PreTrainedModel):
        model = getattr(model, "model", None)
    if model is None:
        raise ConfigError(f"vision: {type(tower.model).__name__} is no Hugging Face model, and nothing else could load "
                          "what training makes of it; choose the same architecture in transformers")  # fmt: skip
    return model


def save_encoder(tower: VisionTower, folder: Path) -> Path:
    """Write weights, configuration and the preparation of images; whole or not at all.

    Args:
        tower: with all its blocks (layer -1).
        folder: to make; replaced if it is there.

    Returns:
        The folder, for ``model.vision=FOLDER``.

    Raises:
        ConfigError: as `hugging_face_model`.
    """
    return save_parts(folder, tower.image_size, tower.mean, tower.std, hugging_face_model(tower))


def save_parts(folder: Path, side: int, mean: Tensor, std: Tensor, *parts: Any) -> Path:
    """Write what has a ``save_pretrained``, and how its images are prepared; whole or not at all.

    Args:
        folder: to make; replaced if it is there.
        side: of the images in pixels.
        mean: three channel means for values in [0, 1].
        std: three channel standard deviations.
        parts: a model, and its tokenizer where it has one.
    """
    part = folder.with_name(f"{folder.name}.part")
    for stale in (part, folder):
        shutil.rmtree(stale, ignore_errors=True)
    for each in parts:
        each.save_pretrained(part)
    preparation = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean.flatten().tolist(),
        "image_std": std.flatten().tolist(),
    }
    (part / "preprocessor_config.json").write_text(json.dumps(preparation, indent=1) + "\n", encoding="utf-8")
    return part.rename(folder)
