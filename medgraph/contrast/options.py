"""The configuration of a dual-encoder pre-training. A field's text is its documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from medgraph.config import ConfigError, DataConfig, PhantomConfig, RunConfig, TrainerConfig
from medgraph.config.choices import head_config
from medgraph.config.validation import RANGES, Range, check_data, check_one_device, check_ranges

TextField = Literal["extended", "answer", "question_answer"]


def _clip() -> Any:
    return head_config("infonce", temperature=0.07, center=False)


@dataclass
class ContrastConfig:
    """A dual-encoder pre-training: pairs of images and texts, encoders, loss, and what is measured afterwards."""

    name: str = "contrast"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of initialisation, order, texts, augmentation and noise."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=PhantomConfig)
    """Any source: pairs of `train` and `task` are trained on; `data.augment` changes their images."""
    text: TextField = "extended"
    """Text of a record: its extended answer (caption, report), its short one, or the question and the short one."""
    sentences: bool = False
    """Draw one sentence of an image's text a step, as ConVIRT does, instead of the whole text."""
    encoder: str = "tiny"
    """`tiny` (starts at random, nothing is downloaded), or a Hugging Face CLIP or SigLIP by hub name or path."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` keeps the architecture only."""
    alignment: Any = field(default_factory=_clip)
    """The loss, any alignment head: CLIP's InfoNCE by default; a learnt temperature of pretrained encoders goes on."""
    steps: int = 1000
    """Optimiser steps; 0 leaves the encoders as they are."""
    batch_size: int = 64
    """Pairs a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; for pretrained encoders 1e-5 (PubMedCLIP)."""
    warmup: float = 0.05
    """Share of the steps with a linearly rising learning rate; cosine decay to 0 follows."""
    weight_decay: float = 0.05
    """AdamW weight decay of matrices."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    templates: list[str] = field(default_factory=lambda: ["a medical image of {}.", "this image shows {}.", "{}."])
    """Prompts of zero-shot classification, with a place {} for the class; a class is the mean of all."""
    words: list[str] = field(default_factory=list)
    """`class:words` for classes that texts call otherwise than labels do, e.g. [normal:no abnormality]."""
    measure_every: int = 200
    """Optimiser steps between zero-shot and retrieval on validation; 0: none before the end."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


_RANGES: tuple[Range, ...] = (
    ("0 or more", lambda value: value >= 0, "steps measure_every weight_decay grad_clip"),
    ("at least 2", lambda value: value >= 2, "batch_size"),
    ("a number above 0", lambda value: value > 0, "lr"),
    ("a share in [0, 1)", lambda value: 0 <= value < 1, "warmup"),
)


def check(config: ContrastConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    from medgraph.alignment.options import make_head

    check_ranges(config, (*RANGES, *_RANGES))
    check_data(config.data)
    check_one_device(config.trainer)
    class_words(config)
    if not config.templates or any("{}" not in template for template in config.templates):
        raise ConfigError(f"templates={config.templates}: expected texts with a place {{}} for the class")
    name = config.alignment.name
    if name == "none":
        raise ConfigError("alignment=none: nothing would be learnt; choose infonce, convirt, mgca or another head")
    if getattr(config.alignment, "projection", 0):
        raise ConfigError(f"alignment={name}: alignment.projection={config.alignment.projection} would make a space "
                          "that is not saved; add alignment.projection=0, the encoders have projections")  # fmt: skip
    try:
        make_head(config.alignment)
    except ValueError as error:
        raise ConfigError(f"alignment={name}: {error}") from error


def class_words(config: ContrastConfig) -> dict[str, str]:
    """The words by class.

    Raises:
        ConfigError: for an entry of another form.
    """
    found = {}
    for entry in map(str, config.words):  # YAML makes a mapping of what has a blank behind the colon
        name, _, words = entry.partition(":")
        if not name.strip() or not words.strip() or entry.startswith("{"):
            raise ConfigError(f"words={entry}: expected class:words without a blank, e.g. [normal:no abnormality]")
        found[name.strip()] = words.strip()
    return found
