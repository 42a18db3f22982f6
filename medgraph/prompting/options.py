"""The configuration of a few-shot study. A field's text is its documentation; a default lives here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medgraph.config import ConfigError, DataConfig, PhantomConfig, RunConfig, TrainerConfig
from medgraph.config.validation import RANGES, Range, check_data, check_one_device, check_ranges
from medgraph.prompting.method import Budget


@dataclass
class FewShotConfig:
    """A few-shot study: data, encoder, shots, and the budget of all methods."""

    name: str = "few_shot"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of the tiny CLIP and of the views; those of the shots are 0 to seeds - 1."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=PhantomConfig)
    """Any source whose images have labels. The classes are those of `ood`, or, where that is empty, of the others."""
    encoder: str = ""
    """CLIP or SigLIP by hub name or path; empty: a tiny CLIP trained on the images and texts of `train`."""
    pretrain_steps: int = 1000
    """Steps of its training; 0: random weights."""
    shots: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16])
    """Images a class, ascending; base-to-new generalization takes the last number."""
    max_validation: int = 4
    """Validation images a class, at most as many as shots."""
    descriptions: str = ""
    """JSON file of class name to sentences; empty: wordings of modality, area and task."""
    num_descriptions: int = 4
    """How many of these wordings."""
    views: int = 3
    """Views of an image, itself included; only Dude looks at the others."""
    budget: Budget = field(default_factory=Budget)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


_RANGES: tuple[Range, ...] = (
    ("0 or more", lambda value: value >= 0, "pretrain_steps"),
    ("at least 1", lambda value: value >= 1,
     "max_validation num_descriptions views budget.steps budget.batch_size"),
    ("a number above 0", lambda value: value > 0, "budget.lr"),
    ("numbers of images from 1, ascending",
     lambda value: bool(value) and value[0] >= 1 and value == sorted(set(value)), "shots"),
)  # fmt: skip


def check(config: FewShotConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_ranges(config, (*RANGES, *_RANGES))
    check_data(config.data)
    check_one_device(config.trainer)
    if config.descriptions and not Path(config.descriptions).is_file():
        raise ConfigError(f"descriptions={config.descriptions}: no such file")
