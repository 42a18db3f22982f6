"""Structured configuration: defaults in dataclasses, overrides from YAML and the command line, one clear error a mistake.

An experiment file builds an `ExperimentConfig`; `parse` lays ``config=file.yaml`` and then ``key=value`` arguments over
it. ``data=NAME``, ``model=NAME`` and ``alignment=NAME`` choose another dataclass or preset with its own defaults before
the remaining keys are applied. This module imports neither torch nor Lightning.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class ConfigError(ValueError):
    """A mistake in the user's configuration; the command line prints its one line and exits with code 2."""


# --------------------------------------------------------------------------------------------------------------------
# data


@dataclass
class DataConfig:
    """Options that every data source has."""

    name: str = "phantom"
    """Which source; `DATA` lists the known ones."""
    fraction: float = 1.0
    """Share of the training images, in (0, 1]; shares are nested, so 10 % is contained in 40 %."""
    extended: Literal["paraphrase", "context"] = "context"
    """Extended answers that say the same in other words, or that add facts about the image."""
    seed: int = 0
    """Seed of the data (not of training): splits, questions, generated images."""


@dataclass
class PhantomConfig(DataConfig):
    """Procedural images with independent generative factors; no files. See docs/phantom.md."""

    num_train: int = 5000
    """Training images at fraction 1."""
    num_task: int = 150
    """Images of the fixed set that stage 3 fine-tunes on."""
    num_val: int = 200
    """Validation images."""
    num_test: int = 500
    """Test images of combinations that occur in training."""
    num_ood: int = 500
    """Test images of held-out combinations."""
    questions_per_image: int = 3
    """Questions a record set asks about one image."""
    num_modalities: int = 4
    """How many of the modalities are used."""
    num_areas: int = 4
    """How many of the anatomical areas are used."""
    num_findings: int = 4
    """How many of the findings are used, `normal` included."""
    holdout: float = 0.125
    """Share of the (modality, area, finding) combinations kept for the ood split."""
    entanglement: float = 0.0
    """0: factors are independent; 1: the modality determines the area."""


@dataclass
class MedMATConfig(DataConfig):
    """Images in the layout of the Med-MAT release (arXiv:2412.20070)."""

    name: str = "medmat"
    root: str = ""
    """Folder that holds `Aggregated_Subsets/` and `med-mat/`; required."""
    subsets: list[str] = field(default_factory=list)
    """Subset numbers to read; empty: all that are there."""
    ood_subsets: list[str] = field(default_factory=list)
    """Subsets kept for the ood split; empty: chosen so that each element also occurs in training."""
    max_per_subset: int = 3000
    """Cap on the training images of a subset, balanced over its labels."""


DATA: dict[str, type[DataConfig]] = {"phantom": PhantomConfig, "medmat": MedMATConfig}


# --------------------------------------------------------------------------------------------------------------------
# model


@dataclass
class ModelConfig:
    """Vision tower, projector and language model."""

    name: str = "tiny"
    """Preset; `MODELS` lists the known ones."""
    vision: str = "tiny"
    """`tiny`, or a Hugging Face vision tower by hub name or local path."""
    llm: str = "tiny"
    """`tiny`, or a Hugging Face causal language model by hub name or local path."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` keeps the architecture and drops the weights."""
    projector: Literal["linear", "mlp2x_gelu"] = "mlp2x_gelu"
    """Map from tower to language model width."""
    vision_layer: int = -2
    """Hidden state of the tower that is used; the blocks after it are removed."""
    max_length: int = 2048
    """Longest sequence in tokens, image tokens included; longer samples are refused by name."""


MODELS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(vision_layer=-1, max_length=512),
    "llava-1.5-7b": ModelConfig("llava-1.5-7b", "openai/clip-vit-large-patch14-336", "lmsys/vicuna-7b-v1.5"),
    "llava-med-7b": ModelConfig("llava-med-7b", "openai/clip-vit-large-patch14", "huggyllama/llama-7b"),
}


# --------------------------------------------------------------------------------------------------------------------
# training


@dataclass
class StageConfig:
    """One training stage. None means: the recipe of the model preset (`medgraph.training.recipes`)."""

    steps: int | None = None
    """Optimiser steps; 0 skips the stage. Set this or `epochs`."""
    epochs: float | None = None
    """Passes over the stage's images. Set this or `steps`."""
    batch_size: int | None = None
    """Images a step and device; also the number of nodes of a graph."""
    accumulate: int = 1
    """Batches an optimiser step."""
    lr: float | None = None
    """Peak learning rate of AdamW."""
    warmup: float = 0.03
    """Share of the steps with a linearly rising learning rate; cosine decay to 0 follows."""
    weight_decay: float = 0.0
    """AdamW weight decay of matrices; biases and norms have none."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    train: list[str] | None = None
    """Trainable parts out of vision, projector, llm."""
    extended_lm: bool = False
    """Also train the language model on the extended answers (the control with equal text)."""
    alpha: float = 0.0
    """Weight of the alignment loss."""


@dataclass
class TrainerConfig:
    """Hardware and strategy, handed to Lightning."""

    accelerator: str = "auto"
    """`auto`, `cpu`, `gpu` …"""
    devices: int | str = 1
    """Number of devices, or `auto`."""
    num_nodes: int = 1
    """Machines."""
    strategy: str = "auto"
    """`auto`, `ddp`, …"""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "auto"
    """`auto`: bf16-mixed where the accelerator has it, else 32-true."""
    threads: int = 1
    """torch threads of one process on the CPU."""
    num_workers: int = 0
    """Data loader processes."""
    checkpoint_every: int = 100
    """Optimiser steps between checkpoints."""
    log_every: int = 10
    """Optimiser steps between logged values."""
    progress: bool = True
    """Progress bar (only on a terminal)."""


@dataclass
class EvalConfig:
    """Evaluation after the last stage."""

    batch_size: int = 64
    """Questions a generation batch."""
    max_new_tokens: int = 16
    """Longest generated answer, in tokens."""
    limit: int | None = None
    """Questions per split; None: all."""
    controls: bool = True
    """Also answer without the image, so that the report can show what the text alone gives away."""


@dataclass
class RunConfig:
    """Where results go."""

    root: str = "runs"
    """Folder of all runs."""
    name: str | None = None
    """Folder name of this run; None: a hash of the configuration, so that the same command resumes."""


@dataclass
class ExperimentConfig:
    """A whole study run: data, model, alignment and the three stages of LLaVA-Med/ExGra-Med (arXiv:2410.02615)."""

    name: str = "experiment"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of initialisation, order and noise."""
    run: RunConfig = field(default_factory=RunConfig)
    data: Any = field(default_factory=PhantomConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    alignment: Any = field(default_factory=lambda: head_config("none"))
    stage1: StageConfig = field(default_factory=StageConfig)
    """Alignment of the projector by language modelling."""
    stage2: StageConfig = field(default_factory=StageConfig)
    """Instruction tuning with alpha times the alignment loss."""
    stage3: StageConfig = field(default_factory=StageConfig)
    """Fine-tuning on the task set."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)


STAGES = ("stage1", "stage2", "stage3")
GROUPS = ("data", "model", "alignment")


def head_config(name: str, **options: Any) -> Any:
    """Make the configuration of an alignment head: a dataclass with `name` and the head's constructor arguments.

    Args:
        name: a registered head (`exgra`, `infonce`, `none` …) or an import path such as ``my_pkg.my_file.MyHead``.
        options: overrides of the constructor's defaults.

    Raises:
        ConfigError: for an unknown head, an unknown option, or a constructor that breaks the convention of
            `medgraph.alignment.head.AlignmentHead`.
    """
    from medgraph.alignment.registry import head_options  # reads signatures: imports torch, so only when needed

    cls = head_options(name)
    unknown = sorted(set(options) - {f.name for f in dataclasses.fields(cls)})
    if unknown:
        known = [f.name for f in dataclasses.fields(cls) if f.name != "name"]
        raise ConfigError(f"alignment head {name!r} has no option {unknown[0]!r}{_suggest(unknown[0], known)}")
    return cls(name=name, **options)


def data_config(name: str, **options: Any) -> DataConfig:
    """Make the configuration of a data source by name.

    Raises:
        ConfigError: for an unknown source.
    """
    if name not in DATA:
        raise ConfigError(f"data={name}: unknown data source{_suggest(name, DATA)}")
    return DATA[name](name=name, **options)


def model_config(name: str, **options: Any) -> ModelConfig:
    """Make the configuration of a model preset.

    Raises:
        ConfigError: for an unknown preset.
    """
    if name not in MODELS:
        raise ConfigError(f"model={name}: unknown preset{_suggest(name, MODELS)}; for any other Hugging Face model "
                          "set model.vision and model.llm to names or local paths")  # fmt: skip
    return dataclasses.replace(MODELS[name], **options)


_CHOOSE = {"data": data_config, "model": model_config, "alignment": head_config}


# --------------------------------------------------------------------------------------------------------------------
# parsing


def parse(default: ExperimentConfig, argv: Sequence[str] = ()) -> ExperimentConfig:
    """Lay a YAML file and command line arguments over an experiment's defaults.

    Args:
        default: the experiment's configuration; not changed.
        argv: ``key=value`` arguments; ``config=file.yaml`` is applied first, the others in order.

    Returns:
        A new, validated configuration of plain dataclasses.

    Raises:
        ConfigError: for anything that is not understood, with the key, the value and the way out.
    """
    config = copy.deepcopy(default)
    pairs = [_split(argument) for argument in argv]
    files = [value for key, value in pairs if key == "config"]
    for file in files:
        config = _merge_mapping(config, _load_yaml(file), file)
    for group in GROUPS:
        for key, value in pairs:
            if key == group:
                setattr(config, group, _CHOOSE[group](value))
    dotlist = [(key, value) for key, value in pairs if key != "config" and key not in GROUPS]
    for key, value in dotlist:
        config = _merge(config, key, OmegaConf.from_dotlist([f"{key}={value}"]), f"{key}={value}")
    validate(config)
    return config


def _split(argument: str) -> tuple[str, str]:
    key, equals, value = argument.partition("=")
    if not equals or not key:
        raise ConfigError(f"{argument!r}: expected key=value, e.g. seed=1 or alignment.k=5")
    return key.lstrip("-"), value


def _load_yaml(file: str) -> dict[str, Any]:
    if not Path(file).is_file():
        raise ConfigError(f"config={file}: no such file")
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except Exception as error:  # noqa: BLE001 - yaml and omegaconf raise many types; all mean the same to the user
        raise ConfigError(f"config={file}: not readable as YAML: {_first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"config={file}: expected keys and values at the top level, found {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


def _merge_mapping(config: ExperimentConfig, mapping: Mapping[str, Any], source: str) -> ExperimentConfig:
    mapping = dict(mapping)
    for group in GROUPS:
        chosen = mapping.get(group)
        name = chosen if isinstance(chosen, str) else chosen.get("name") if isinstance(chosen, Mapping) else None
        if name is not None:
            setattr(config, group, _CHOOSE[group](name))
        if isinstance(chosen, str):
            del mapping[group]
    for key in _flat_keys(mapping):
        _check_key(config, key, f"{source}: ")
    return _merge(config, None, OmegaConf.create(mapping), source)


def _merge(config: ExperimentConfig, key: str | None, update: DictConfig, source: str) -> ExperimentConfig:
    if key is not None:
        _check_key(config, key, "")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config), update)
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{source}: {_first_line(error)}") from error
    assert isinstance(result, ExperimentConfig)
    return result


def _check_key(config: ExperimentConfig, key: str, prefix: str) -> None:
    known = list(_flat_keys(dataclasses.asdict(config), inner=True))
    if key not in known:
        raise ConfigError(f"{prefix}unknown key {key!r}{_suggest(key, known)}")


def _flat_keys(mapping: Mapping[str, Any], prefix: str = "", inner: bool = False) -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            if inner:
                yield f"{prefix}{key}"
            yield from _flat_keys(value, f"{prefix}{key}.", inner)
        else:
            yield f"{prefix}{key}"


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    top = sorted({key.split(".")[0] for key in known})
    return f"; known: {', '.join(top)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


# --------------------------------------------------------------------------------------------------------------------
# validation, identity


def validate(config: ExperimentConfig) -> None:
    """Check ranges and combinations that types cannot express.

    Raises:
        ConfigError: naming the key, the value and the accepted range.
    """

    def check(ok: bool, key: str, value: Any, expected: str) -> None:
        if not ok:
            raise ConfigError(f"{key}={value}: expected {expected}")

    check(0 < config.data.fraction <= 1, "data.fraction", config.data.fraction, "a share in (0, 1]")
    check(config.seed >= 0, "seed", config.seed, "a non-negative integer")
    for field_name in ("name", ):
        value = getattr(config, field_name)
        check(bool(value) and "/" not in value, field_name, value, "a folder name without slashes")
    if config.run.name is not None:
        check(bool(config.run.name) and "/" not in config.run.name, "run.name", config.run.name,
              "a folder name without slashes")  # fmt: skip
    if isinstance(config.data, PhantomConfig):
        for key in ("num_train", "num_test", "questions_per_image", "num_modalities", "num_areas", "num_findings"):
            check(getattr(config.data, key) > 0, f"data.{key}", getattr(config.data, key), "a positive integer")
        check(0 <= config.data.holdout < 1, "data.holdout", config.data.holdout, "a share in [0, 1)")
    if isinstance(config.data, MedMATConfig):
        check(bool(config.data.root), "data.root", repr(config.data.root),
              "the folder that holds Aggregated_Subsets/ and med-mat/")  # fmt: skip
        check(Path(config.data.root).is_dir(), "data.root", config.data.root, "an existing folder")
    for name in STAGES:
        stage: StageConfig = getattr(config, name)
        check(stage.steps is None or stage.epochs is None, f"{name}.steps", stage.steps,
              f"either {name}.steps or {name}.epochs, not both")  # fmt: skip
        check(stage.steps is None or stage.steps >= 0, f"{name}.steps", stage.steps, "0 or more optimiser steps")
        check(stage.epochs is None or stage.epochs >= 0, f"{name}.epochs", stage.epochs, "0 or more epochs")
        check(stage.batch_size is None or stage.batch_size > 0, f"{name}.batch_size", stage.batch_size, "at least 1")
        check(stage.accumulate > 0, f"{name}.accumulate", stage.accumulate, "at least 1")
        check(stage.lr is None or stage.lr > 0, f"{name}.lr", stage.lr, "a positive learning rate")
        check(0 <= stage.warmup < 1, f"{name}.warmup", stage.warmup, "a share in [0, 1)")
        check(stage.alpha >= 0, f"{name}.alpha", stage.alpha, "a weight of 0 or more")
        check(stage.grad_clip >= 0, f"{name}.grad_clip", stage.grad_clip, "a norm of 0 or more")
        parts = set(stage.train or []) - {"vision", "projector", "llm"}
        check(not parts, f"{name}.train", ",".join(sorted(parts)), "parts out of vision, projector, llm")
    check(config.trainer.threads > 0, "trainer.threads", config.trainer.threads, "at least 1")
    check(config.eval.batch_size > 0, "eval.batch_size", config.eval.batch_size, "at least 1")
    check(config.eval.max_new_tokens > 0, "eval.max_new_tokens", config.eval.max_new_tokens, "at least 1")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration: what checkpoints, YAML and hashes are made of."""
    return dataclasses.asdict(config)


def to_yaml(config: ExperimentConfig) -> str:
    """YAML text that `parse` reads back with ``config=``."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def config_hash(config: ExperimentConfig) -> str:
    """8 hex digits that identify what is computed: where it is stored, hardware and progress display do not count."""
    content = to_dict(config)
    content.pop("run")
    content["trainer"] = {key: content["trainer"][key] for key in ("precision", "strategy", "devices", "num_nodes")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def run_dir(config: ExperimentConfig) -> Path:
    """Stable folder of a run: ``<run.root>/<name>/<run.name or the configuration's hash>``."""
    return Path(config.run.root) / config.name / (config.run.name or config_hash(config))
