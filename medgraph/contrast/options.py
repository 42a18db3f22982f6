"""The configuration of a dual-encoder pre-training, beyond `AloneConfig`. A field's text is its documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from medgraph.config import ConfigError, DataConfig, PhantomConfig
from medgraph.config.alone import AloneConfig, check_alone
from medgraph.config.choices import head_config
from medgraph.config.validation import Range

TextField = Literal["extended", "answer", "question_answer"]


def _clip() -> Any:
    return head_config("infonce", temperature=0.07, center=False)


@dataclass
class ContrastConfig(AloneConfig):
    """A dual-encoder pre-training: pairs of images and texts, encoders, loss, and what is measured afterwards."""

    name: str = "contrast"
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
    batch_size: int = 64
    """Pairs a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; for pretrained encoders 1e-5 (PubMedCLIP)."""
    templates: list[str] = field(default_factory=lambda: ["a medical image of {}.", "this image shows {}.", "{}."])
    """Prompts of zero-shot classification, with a place {} for the class; a class is the mean of all."""
    words: list[str] = field(default_factory=list)
    """`class:words` for classes that texts call otherwise than labels do, e.g. [normal:no abnormality]."""
    measure_every: int = 200
    """Optimiser steps between zero-shot and retrieval on validation; 0: none before the end."""


_RANGES: tuple[Range, ...] = (
    ("0 or more", lambda value: value >= 0, "measure_every"),
    ("at least 2", lambda value: value >= 2, "batch_size"),
)


def check(config: ContrastConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    from medgraph.alignment.options import make_head

    check_alone(config, _RANGES)
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
