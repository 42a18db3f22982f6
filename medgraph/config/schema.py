"""The dataclasses of a configuration. A field's text is its documentation; a default lives here and nowhere else."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

from medgraph.config.sources import DataConfig, PhantomConfig

STAGES = ("stage1", "stage2", "stage3")
"""The stages of an experiment in their order; each is a field of `ExperimentConfig`."""
VIEWS = ("answer", "extended")
"""Texts that an alignment head can see."""


@dataclass
class LoraOptions:
    """Low-rank adapters (arXiv:2106.09685); a part that has them trains nothing else."""

    rank: int = 0
    """Width of the adapters; 0: none."""
    alpha: int = 16
    """Scale of what they add, before the division by `rank`."""
    dropout: float = 0.0
    """Share of their input that is dropped in training."""
    dora: bool = False
    """Learn the length of each output's weights apart from their direction (DoRA, arXiv:2402.09353)."""
    targets: list[str] = field(default_factory=list)
    """Names of linear layers, such as [q_proj,v_proj]; empty: all of them but the output embedding."""
    parts: list[str] = field(default_factory=lambda: ["llm"])
    """Parts that get adapters, out of vision, llm."""


@dataclass
class PromptOptions:
    """Dynamic visual prompts (arXiv:2307.09787); a tower that has them trains nothing else."""

    prompts: int = 0
    """Prompts in front of a block; 0: none. The authors have 50."""
    width: int = 20
    """Width of the bottleneck in which they meet the image."""
    share: int = 3
    """Blocks in a row that have the same prompts and projections."""


@dataclass
class ModelConfig:
    """Vision tower, projector and language model."""

    name: str = "tiny"
    """Preset; `MODELS` lists the known ones."""
    vision: str = "tiny"
    """`tiny`, `small`, a short name out of `VISION`, or a vision tower by hub name or local path."""
    llm: str = "tiny"
    """`tiny`, `small`, or a Hugging Face causal language model by hub name or local path."""
    vlm: str | None = None
    """A whole Hugging Face image-text-to-text model by hub name or local path, instead of tower and language model."""
    image_size: int | None = None
    """Side of the images in pixels, for a `vlm` that takes any; None: 448, or the nearest that its processor allows."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` keeps the architecture and drops the weights; the parts of `small` have none."""
    connector: Literal["none", "sti", "sci", "dci"] = "none"
    """Dense connector (arXiv:2405.13800): how earlier layers of the tower join the chosen one."""
    pool: int = 1
    """Squares of `pool` x `pool` patches become one token."""
    projector: str = "mlp2x_gelu"
    """Map from tower to language model: `linear`, `mlpNx_gelu` (N linear layers) or `resampler`."""
    queries: int = 64
    """Tokens of an image behind the resampler."""
    vision_layer: int = -2
    """Hidden state of the tower that is used; the blocks after it are removed."""
    lora: LoraOptions = field(default_factory=LoraOptions)
    dvpt: PromptOptions = field(default_factory=PromptOptions)
    quantize: Literal["none", "4bit"] = "none"
    """`4bit` keeps the language model's frozen weights in NF4 under its adapters (QLoRA, arXiv:2305.14314)."""
    max_length: int = 2048
    """Longest sequence in tokens, image tokens included; longer samples are refused by name."""
    text_nodes: Literal["packed", "pooled", "frozen", "truncated"] = "packed"
    """Where an alignment head's text nodes come from; all but `packed` are cheaper and change the mathematics."""
    text_layers: int | None = None
    """Layers that `truncated` texts pass; None: a quarter of them."""
    loss: Literal["chunked", "liger"] = "chunked"
    """Cross entropy without all logits: our own, or Liger's kernel on CUDA (pip install 'medgraph[liger]')."""


MODELS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(vision_layer=-1, max_length=512),
    "small": ModelConfig("small", "small", "small", vision_layer=-1, max_length=1024),
    "llava-1.5-7b": ModelConfig("llava-1.5-7b", "openai/clip-vit-large-patch14-336", "lmsys/vicuna-7b-v1.5"),
    "llava-med-7b": ModelConfig("llava-med-7b", "openai/clip-vit-large-patch14", "huggyllama/llama-7b"),
}
"""Model presets by name."""


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
    views: list[str] = field(default_factory=lambda: list(VIEWS))
    """Texts that the alignment head sees beside the image: answer, extended, or both."""
    queue: int = 0
    """Nodes of earlier batches that join the batch in the alignment loss, without gradient; 0: none."""


@dataclass
class TrainerConfig:
    """Hardware and strategy, handed to Lightning."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    """Kind of device; `auto` takes the best one there is."""
    devices: int | str = 1
    """Number of devices, or `auto`."""
    num_nodes: int = 1
    """Machines."""
    strategy: Literal["auto", "ddp", "fsdp", "fsdp1"] = "auto"
    """Several devices hold copies (`ddp`, also `auto`) or shards: `fsdp` (FSDP2), `fsdp1` (classic; GPUs)."""
    sharded_checkpoints: bool = False
    """With fsdp: every device writes its part of a checkpoint, a folder, instead of one file by the first."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "auto"
    """`auto`: bf16-mixed where the accelerator has it, else 32-true."""
    checkpointing: Literal["none", "selective", "full"] = "none"
    """What transformer blocks compute again in backward instead of keeping it: `full` everything, `selective` all but
    matrix products and attention."""
    compile: bool = False
    """Compile the transformer blocks for training."""
    threads: int = 1
    """torch threads of one process on the CPU."""
    num_workers: int = 0
    """Data loader processes."""
    checkpoint_every: int = 100
    """Optimiser steps between checkpoints."""
    preflight_seconds: float = 60.0
    """Time in which all ranks must answer before anything expensive starts."""
    memory_check: bool = True
    """Refuse to start where weights, gradients and optimiser alone exceed the free memory of the device."""
    spike: float = 100.0
    """Stop where a loss or the gradient norm is so many times its running median; 0: never."""
    log_every: int = 10
    """Optimiser steps between logged values."""
    progress: bool = True
    """Progress bar (only on a terminal)."""


@dataclass
class EvalConfig:
    """Evaluation after the last stage."""

    batch_size: int = 64
    """Questions a generation batch."""
    max_new_tokens: int = 0
    """Longest generated answer, in tokens; 0: 16, or as many as the longest true answer has."""
    limit: int | None = None
    """Questions per split; None: all."""
    splits: list[str] = field(default_factory=lambda: ["test", "ood"])
    """Splits that are answered; ``[val]`` to choose settings without looking at the tests."""
    controls: bool = True
    """Also answer without the image, with another image and without a model: what text and statistics give away."""
    likelihood: bool = True
    """Also score the allowed answers of choice and closed questions by likelihood, which calibration needs."""
    circular: bool = False
    """Also ask choice questions with their options in every order."""
    corruptions: list[str] = field(default_factory=list)
    """Also ask about corrupted images, at three severities: blur, brightness, noise."""


@dataclass
class RunConfig:
    """Where results go."""

    root: str = "runs"
    """Folder of all runs."""
    name: str | None = None
    """Folder name of this run; None: a hash of the configuration, so that the same command resumes."""
    force: bool = False
    """Continue a run although configuration, data, packaged weights or code have changed; the report will say so."""


def _no_alignment() -> Any:
    from medgraph.config.choices import head_config

    return head_config("none")


@dataclass
class ExperimentConfig:
    """A whole study run: data, model, alignment and the three stages of LLaVA-Med/ExGra-Med (arXiv:2410.02615)."""

    name: str = "experiment"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of initialisation, order and noise."""
    start: str | None = None
    """Folder of a finished run whose model this one starts from; `model` must be the same."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=PhantomConfig)
    model: ModelConfig = field(default_factory=lambda: copy.deepcopy(MODELS["tiny"]))
    alignment: Any = field(default_factory=_no_alignment)
    """`name` and the constructor arguments of an alignment head; see `head_config`."""
    stage1: StageConfig = field(default_factory=StageConfig)
    """Alignment of the projector by language modelling."""
    stage2: StageConfig = field(default_factory=StageConfig)
    """Instruction tuning with alpha times the alignment loss."""
    stage3: StageConfig = field(default_factory=StageConfig)
    """Fine-tuning on the task set."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
