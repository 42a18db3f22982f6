"""The configuration of a segmentation, beyond `TowerConfig`. A field's text is its documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medgraph.config import ConfigError, DataConfig, PhantomConfig
from medgraph.config.alone import TowerConfig, check_tower
from medgraph.config.validation import Range


@dataclass
class SegmentationConfig(TowerConfig):
    """A tower that is fine-tuned, under a decoder, to tell the class of every pixel."""

    name: str = "segmentation"
    data: DataConfig = field(default_factory=PhantomConfig)
    """Phantoms, unless `masks` is given."""
    masks: str = ""
    """Folder with `train`, `test` and perhaps `val`, each with `images/NAME.*` and `masks/NAME.*`; each grey value
    of the training masks is a class, 0 the background."""
    steps: int = 300
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 1e-4
    validate_every: int = 100
    """Optimiser steps between validations, where there is a split for it; nothing is chosen by them. 0: none."""


_RANGES: tuple[Range, ...] = (
    ("at least 1", lambda value: value >= 1, "steps"),
    ("0 or more", lambda value: value >= 0, "validate_every"),
)


def check(config: SegmentationConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_tower(config, _RANGES)
    if config.masks and not Path(config.masks).is_dir():
        raise ConfigError(f"masks={config.masks}: no such folder; expected one with train/images, train/masks, "
                          "test/images and test/masks")  # fmt: skip
    for name in ("augment", "cache", *(["fraction"] if config.masks else [])):
        value, kept = getattr(config.data, name), getattr(DataConfig(), name)
        if value != kept:
            raise ConfigError(f"data.{name}={value}: images with masks are read as they are and keep {name}={kept}")
