"""What types cannot express: ranges and combinations."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraph.config.errors import ConfigError
from medgraph.config.presets import vision_source
from medgraph.config.schema import STAGES, VIEWS, ExperimentConfig, ModelConfig, TrainerConfig
from medgraph.config.sources import SPLITS, DataConfig, FilesConfig, MixtureConfig, SubsetsConfig

if TYPE_CHECKING:
    from medgraph.alignment.head import AlignmentHead

Range = tuple[str, Callable[[Any], bool], str]
"""Expectation, test, and the patterns of the keys it is for; None is always allowed."""

RANGES: tuple[Range, ...] = (
    (
        "at least 1",
        lambda value: value >= 1,
        "data.num_train data.num_task data.num_val data.num_test data.num_modalities data.num_areas data.num_findings "
        "data.questions_per_image data.turns data.max_per_subset model.max_length model.image_size model.pool "
        "model.queries model.text_layers model.lora.alpha model.dvpt.width model.dvpt.share stage?.batch_size "
        "stage?.accumulate trainer.num_nodes "
        "trainer.threads trainer.*_every eval.batch_size eval.limit",
    ),
    (
        "0 or more",
        lambda value: value >= 0,
        "data.num_ood data.seed stage?.steps stage?.epochs stage?.weight_decay stage?.grad_clip stage?.alpha "
        "stage?.queue model.lora.rank model.dvpt.prompts trainer.num_workers trainer.spike eval.max_new_tokens",
    ),
    ("a number above 0", lambda value: value > 0, "trainer.preflight_seconds stage?.lr"),
    ("a share in (0, 1]", lambda value: 0 < value <= 1, "data.fraction"),
    (
        "a share in [0, 1)",
        lambda value: 0 <= value < 1,
        "data.holdout data.test_share model.lora.dropout stage?.warmup",
    ),
    (
        "one or both of vision, llm",
        lambda value: 0 < len(value) == len(set(value)) and set(value) <= {"vision", "llm"},
        "model.lora.parts",
    ),
    ("a number in [0, 1]", lambda value: 0 <= value <= 1, "data.entanglement data.interaction"),
    ("an integer from 0 to 4294967295", lambda value: 0 <= value < 2**32, "seed"),
    (
        "a folder name of letters, digits and . _ + = -",
        lambda value: re.fullmatch(r"(?!\.)[\w.+=-]+", value) is not None,
        "name run.name",
    ),
    ("a folder", bool, "run.root"),
    (
        "linear, resampler or mlpNx_gelu with N >= 1, e.g. mlp2x_gelu",
        lambda value: re.fullmatch(r"linear|resampler|mlp[1-9]\d*x_gelu", value) is not None,
        "model.projector",
    ),
    (
        "at least 1, or auto",
        lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
        "trainer.devices",
    ),
)
"""Of an `ExperimentConfig`."""

_PARTS = ("vision", "projector", "llm")
ANSWERED = SPLITS[2:]
"""What can be answered after training."""


def validate(config: ExperimentConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_ranges(config, RANGES)
    check_data(config.data)
    for name in STAGES:
        stage = getattr(config, name)
        if stage.steps is not None and stage.epochs is not None:
            raise ConfigError(f"{name}.steps={stage.steps} and {name}.epochs={stage.epochs}: set one of them")
        for part in stage.train or ():
            if part not in _PARTS:
                raise ConfigError(f"{name}.train={part}: expected parts out of {', '.join(_PARTS)}")
        if not stage.views or len(set(stage.views)) != len(stage.views) or not set(stage.views) <= set(VIEWS):
            raise ConfigError(f"{name}.views={stage.views}: expected one or both of {', '.join(VIEWS)}")
        if stage.train is not None and not stage.train:
            raise ConfigError(f"{name}.train is empty; to leave a stage out set {name}.steps=0")
    for split in config.eval.splits:
        if split not in ANSWERED:
            raise ConfigError(f"eval.splits={split}: expected splits out of {', '.join(ANSWERED)}")
    if not config.eval.splits:
        raise ConfigError(f"eval.splits is empty: expected splits out of {', '.join(ANSWERED)}")
    _check_strategy(config)
    if config.trainer.compile and config.trainer.checkpointing == "selective":
        raise ConfigError("trainer.checkpointing=selective: compiled blocks choose by themselves what they compute "
                          "again; use none or full with trainer.compile=true")  # fmt: skip
    vision_source(config.model.vision)
    _check_model(config.model)
    _check_quantize(config.model)
    if config.model.text_layers is not None and config.model.text_nodes != "truncated":
        raise ConfigError(f"model.text_layers={config.model.text_layers} has no effect with model.text_nodes="
                          f"{config.model.text_nodes}; leave it out, or set model.text_nodes=truncated")  # fmt: skip
    _check_corruptions(config.eval.corruptions)
    _check_alignment(config)


def _check_strategy(config: ExperimentConfig) -> None:
    trainer, quantize = config.trainer, config.model.quantize
    if trainer.strategy == "fsdp1" and trainer.accelerator == "cpu":
        raise ConfigError("trainer.strategy=fsdp1: classic FSDP needs GPUs; use trainer.strategy=fsdp on the CPU")
    if trainer.compile and trainer.strategy.startswith("fsdp"):
        raise ConfigError(f"trainer.compile=true trainer.strategy={trainer.strategy}: compiled blocks are not sharded; "
                          "use trainer.strategy=ddp or trainer.compile=false")  # fmt: skip
    if quantize != "none" and trainer.strategy.startswith("fsdp"):
        raise ConfigError(f"model.quantize={quantize} trainer.strategy={trainer.strategy}: 4-bit weights are whole; "
                          "use trainer.strategy=ddp")  # fmt: skip
    if trainer.sharded_checkpoints and trainer.strategy != "fsdp":
        raise ConfigError(f"trainer.sharded_checkpoints=true is for trainer.strategy=fsdp, not {trainer.strategy}")
    for name in STAGES:
        if trainer.strategy == "fsdp1" and (decay := getattr(config, name).weight_decay):
            raise ConfigError(f"{name}.weight_decay={decay}: trainer.strategy=fsdp1 flattens matrices, which "
                              "alone decay; use fsdp")  # fmt: skip


def _check_model(model: ModelConfig) -> None:
    """A whole model has parts of its own; what would be ignored or meet in one part is refused."""
    if model.dvpt.prompts and model.lora.rank and "vision" in model.lora.parts:
        raise ConfigError(f"model.dvpt.prompts={model.dvpt.prompts}: the tower has adapters already; take vision out "
                          "of model.lora.parts")  # fmt: skip
    if model.vlm is None:
        if model.image_size is not None:
            raise ConfigError(f"model.image_size={model.image_size} is for model.vlm; the tower has a size of its own")
        return
    parts = ModelConfig()
    for name in ("vision", "llm", "connector", "pool", "projector", "queries"):
        value = getattr(model, name)
        if value != getattr(parts, name):
            raise ConfigError(f"model.{name}={value} has no effect beside model.vlm={model.vlm}; leave one of them out")


def _check_quantize(model: ModelConfig) -> None:
    """Weights of four bits cannot be trained, nor be drawn, and only language models are loaded with them."""
    if model.quantize == "none":
        return
    if not model.lora.rank or "llm" not in model.lora.parts:
        raise ConfigError(f"model.quantize={model.quantize}: such weights are not trained, adapters are; add "
                          "model.lora.rank=8, and llm to model.lora.parts")  # fmt: skip
    if model.vlm is not None or model.llm in ("tiny", "small") or model.weights == "random":
        raise ConfigError(f"model.quantize={model.quantize} is for a pretrained model.llm by hub name or local path")


def check_data(data: DataConfig) -> None:
    """Check that a data source has what it needs.

    Raises:
        ConfigError: naming the key and the way out.
    """
    if isinstance(data, FilesConfig):
        check_root(data)
    if isinstance(data, MixtureConfig):
        from medgraph.config.mixture import mixture_parts  # needs the parser, which needs this module

        mixture_parts(data)
    if isinstance(data, SubsetsConfig):
        from medgraph.config.mixture import nested_source

        if not data.sources or not data.target:
            raise ConfigError("data.sources and data.target: data=subsets needs both; medgraph cg plan writes them")
        for number, source in enumerate(data.sources):
            nested_source(source, f"data.sources[{number}]", data)
    if data.augment:
        from medgraph.data.augment import check_augmentations

        check_augmentations(data.augment)


SEVERAL_DEVICES = ("devices", "num_nodes", "strategy", "sharded_checkpoints", "checkpointing", "compile")
"""Options of the trainer that a training on one device does not have."""


def check_one_device(trainer: TrainerConfig) -> None:
    """Refuse options of the trainer that a training on one device would ignore.

    Raises:
        ConfigError: naming the key and what it stays at.
    """
    defaults = TrainerConfig()
    for name in SEVERAL_DEVICES:
        value, kept = getattr(trainer, name), getattr(defaults, name)
        if value != kept:
            raise ConfigError(f"trainer.{name}={value}: this training runs on one device and keeps {name}={kept}")


def check_ranges(section: Any, ranges: Sequence[Range], prefix: str = "") -> None:
    """Check the values of a configuration, groups included.

    Args:
        section: a dataclass.
        ranges: what is expected of which keys.
        prefix: dotted key of the section, with a dot behind it.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    for name, value in vars(section).items():
        if dataclasses.is_dataclass(value):
            check_ranges(value, ranges, f"{prefix}{name}.")
        else:
            _check_range(f"{prefix}{name}", value, ranges)


def _check_range(key: str, value: Any, ranges: Sequence[Range]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}={value}: expected a finite number")
    for expected, accepts, patterns in ranges:
        if any(fnmatch(key, pattern) for pattern in patterns.split()) and value is not None and not accepts(value):
            raise ConfigError(f"{key}={value}: expected {expected}")


def check_root(data: FilesConfig, key: str = "data.root") -> None:
    """Check that the files of a source are somewhere.

    Raises:
        ConfigError: naming the key and what it should be.
    """
    if not data.root:
        raise ConfigError(f"{key} is not set: data={data.name} needs {data.EXPECTS}; add {key}=PATH")
    if not Path(data.root).exists():
        raise ConfigError(f"{key}={data.root}: no such folder or file; expected {data.EXPECTS}")


def _check_corruptions(names: list[str]) -> None:
    if names:
        from medgraph.evaluation.corruptions import CORRUPTIONS

        for name in names:
            if name not in CORRUPTIONS:
                raise ConfigError(f"eval.corruptions={name}: expected some of {', '.join(CORRUPTIONS)}")


def _check_alignment(config: ExperimentConfig) -> None:
    from medgraph.alignment.options import make_head

    name = config.alignment.name
    try:
        head = make_head(config.alignment)
    except ValueError as error:
        raise ConfigError(f"alignment={name}: {error}") from error
    if name != "none" and not any(getattr(config, stage).alpha for stage in STAGES):
        raise ConfigError(f"alignment={name} has no effect while every alpha is 0; add stage2.alpha=1")
    check_queue(config, head)


def check_queue(config: ExperimentConfig, head: AlignmentHead) -> None:
    """Check that a queue of nodes has something to work with.

    Args:
        config: the study.
        head: the alignment head it runs with, configured or of the caller's own.

    Raises:
        ConfigError: if a stage has a queue and no alignment, or the head cannot use one.
    """
    for name in STAGES:
        stage = getattr(config, name)
        if not stage.queue:
            continue
        if not stage.alpha:
            raise ConfigError(f"{name}.queue={stage.queue} has no effect while {name}.alpha is 0; leave it out")
        if head.uses_tokens:
            raise ConfigError(
                f"{name}.queue={stage.queue}: {type(head).__name__} reads tokens, which a queue does not keep; leave "
                "it out (or set uses_tokens = False in a head of your own that reads pooled nodes only)"
            )
        graph_size = getattr(head, "graph_size", 0)
        if graph_size and graph_size <= (stage.batch_size or 0):
            raise ConfigError(
                f"{name}.queue={stage.queue} has no effect while {name}.batch_size={stage.batch_size} fills the graphs "
                f"of alignment.graph_size={graph_size} nodes; leave it out or raise alignment.graph_size"
            )
