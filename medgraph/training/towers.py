"""The vision tower that a training on one device starts from."""

from __future__ import annotations

import lightning as L
import torch

from medgraph.config import ModelConfig, PromptOptions
from medgraph.config.alone import TowerConfig
from medgraph.models.build import assets_hash, build_vision
from medgraph.models.vision import VisionTower


def tower_model(config: TowerConfig, prompts: PromptOptions | None = None) -> ModelConfig:
    """The tower of a configuration up to its last layer, with or without dynamic prompts, as options of a model."""
    dvpt = prompts or PromptOptions()
    return ModelConfig(vision=config.vision, weights=config.weights, vision_layer=-1, dvpt=dvpt)


def tower_weights(model: ModelConfig) -> str | None:
    """Hash of the packaged weights that a tower starts from; None if it uses none."""
    return assets_hash(model) if model.vision == "tiny" else None


def seeded_tower(model: ModelConfig, seed: int) -> VisionTower:
    """Build a tower; what is drawn afterwards depends on the seed alone, whatever building it has drawn."""
    L.seed_everything(seed, workers=True, verbose=False)
    tower = build_vision(model)
    torch.manual_seed(seed)
    return tower
