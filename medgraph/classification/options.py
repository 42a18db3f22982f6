"""The configuration of a classifier, beyond `TowerConfig`. A field's text is its documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medgraph.augment.base import Mix
from medgraph.config import DataConfig, PhantomConfig, PromptOptions
from medgraph.config.alone import TowerConfig, check_tower
from medgraph.config.validation import Range

Tuning = Literal["full", "dvpt", "linear"]


@dataclass
class ClassifierConfig(TowerConfig):
    """A tower that is fine-tuned to tell the labels of a corpus."""

    name: str = "classification"
    data: DataConfig = field(default_factory=PhantomConfig)
    """Any source whose images have labels in train, val and test."""
    tuning: Tuning = "full"
    """What is trained beside the head: the whole tower, dynamic prompts in it, or nothing."""
    dvpt: PromptOptions = field(default_factory=lambda: PromptOptions(prompts=50))
    """The dynamic prompts of `tuning=dvpt`."""
    mix: Mix = field(default_factory=Mix)
    """How training batches are mixed: none, mixup, cutmix, snapmix, augmix, cropmix, yoco, and its options."""
    steps: int = 200
    batch_size: int = 16
    """Images a step, before a mix makes more of them."""
    warmup: float = 0.1
    validate_every: int = 100
    """Optimiser steps between validations; nothing is chosen by them. 0: none."""


_RANGES: tuple[Range, ...] = (
    ("at least 1", lambda value: value >= 1, "steps mix.width mix.crops dvpt.*"),
    ("at least 2", lambda value: value >= 2, "batch_size"),
    ("0 or more", lambda value: value >= 0, "validate_every mix.consistency"),
    ("a number above 0", lambda value: value > 0, "mix.alpha mix.ratio"),
    ("a share in [0, 1)", lambda value: 0 <= value < 1, "mix.jitter"),
    ("a share in (0, 1]", lambda value: 0 < value <= 1, "mix.scale"),
    ("a number in [0, 1]", lambda value: 0 <= value <= 1, "mix.flip"),
    ("a number from 0.1 to 10", lambda value: 0.1 <= value <= 10, "mix.severity"),
)


def check(config: ClassifierConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_tower(config, _RANGES)
