"""The configuration of a segmentation. A field's text is its documentation; a default lives here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medgraph.config import ConfigError, DataConfig, PhantomConfig, RunConfig, TrainerConfig
from medgraph.config.presets import vision_source
from medgraph.config.validation import RANGES, Range, check_data, check_one_device, check_ranges


@dataclass
class SegmentationConfig:
    """A tower that is fine-tuned, under a decoder, to tell the class of every pixel."""

    name: str = "segmentation"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of the decoder, order and dropout."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=PhantomConfig)
    """Phantoms, unless `masks` is given."""
    masks: str = ""
    """Folder with `train`, `test` and perhaps `val`, each with `images/NAME.*` and `masks/NAME.*`: grey values number
    the classes, 0 is the background."""
    vision: str = "tiny"
    """`tiny`, `small`, a short name, or a Hugging Face vision tower by hub name or path."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """What training starts from; `random` keeps the architecture only."""
    steps: int = 300
    """Optimiser steps."""
    batch_size: int = 32
    """Images a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW, for tower and decoder."""
    warmup: float = 0.1
    """Share of the steps with a linearly rising learning rate; cosine decay to 0 follows."""
    weight_decay: float = 1e-4
    """AdamW weight decay of matrices."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    validate_every: int = 100
    """Optimiser steps between validations, where there is a validation split; nothing is chosen by them. 0: none."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


_RANGES: tuple[Range, ...] = (
    ("at least 1", lambda value: value >= 1, "steps batch_size"),
    ("0 or more", lambda value: value >= 0, "weight_decay grad_clip validate_every"),
    ("a number above 0", lambda value: value > 0, "lr"),
    ("a share in [0, 1)", lambda value: 0 <= value < 1, "warmup"),
)


def check(config: SegmentationConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_ranges(config, (*RANGES, *_RANGES))
    check_data(config.data)
    vision_source(config.vision)
    check_one_device(config.trainer)
    for name in ("augment", "cache", *(["fraction"] if config.masks else [])):
        value, kept = getattr(config.data, name), getattr(DataConfig(), name)
        if value != kept:
            raise ConfigError(f"data.{name}={value}: images with masks are read as they are and keep {name}={kept}")
