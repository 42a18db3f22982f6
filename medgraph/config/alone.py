"""What trainings on one device have in common: where they go, on which data, how long and at which rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from medgraph.config.presets import check_start
from medgraph.config.schema import RunConfig, TrainerConfig
from medgraph.config.sources import DataConfig, PhantomConfig
from medgraph.config.validation import RANGES, Range, check_data, check_one_device, check_ranges


@dataclass
class AloneConfig:
    """A training on one device that is no stage of a run; a subclass says what is trained, and its own defaults."""

    name: str = "alone"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of initialisation, order, and whatever else is drawn."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=PhantomConfig)
    """Any source."""
    steps: int = 1000
    """Optimiser steps; 0, where it is allowed, leaves the model as it is."""
    batch_size: int = 64
    """Images a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    warmup: float = 0.05
    """Share of the steps with a linearly rising learning rate; cosine decay to 0 follows."""
    weight_decay: float = 0.05
    """AdamW weight decay of matrices."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


@dataclass
class TowerConfig(AloneConfig):
    """Such a training that starts from a vision tower."""

    vision: str = "tiny"
    """`tiny`, `small`, a short name, or a Hugging Face vision tower by hub name or path."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """What training starts from; `random` keeps the architecture only."""


_RANGES: tuple[Range, ...] = (
    ("0 or more", lambda value: value >= 0, "steps weight_decay grad_clip"),
    ("at least 1", lambda value: value >= 1, "batch_size"),
    ("a number above 0", lambda value: value > 0, "lr"),
    ("a share in [0, 1)", lambda value: 0 <= value < 1, "warmup"),
)


def check_alone(config: AloneConfig, ranges: Sequence[Range]) -> None:
    """Check ranges, data, and that one device is asked for.

    Args:
        config: what will be trained.
        ranges: of the subclass's own keys, or narrower ones of the common keys.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_ranges(config, (*RANGES, *ranges, *_RANGES))
    check_data(config.data)
    check_one_device(config.trainer)


def check_tower(config: TowerConfig, ranges: Sequence[Range]) -> None:
    """Check what `check_alone` does, and the tower's name.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_alone(config, ranges)
    check_start(config.vision)
