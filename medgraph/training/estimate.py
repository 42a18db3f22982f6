"""What a run will need, before its first step: memory of a device by purpose, operations and time of each stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from medgraph.alignment.head import AlignmentHead
from medgraph.config import ConfigError, ExperimentConfig
from medgraph.data import build_corpus
from medgraph.data.collate import Tokens
from medgraph.data.loading import ImageCache, rank_and_ranks
from medgraph.models.loss import CHUNK
from medgraph.models.medvlm import MedVLM
from medgraph.models.skeleton import build_skeleton
from medgraph.training.costs import Flops, States, activation_bytes, shapes_of, state_bytes, step_flops
from medgraph.training.prepare import Prepared, build_head, complete, corpus_texts
from medgraph.training.ranks import uses_gpu
from medgraph.training.stages import Stage, plan_stages
from medgraph.training.workload import Workload, measure_workload

MFU = 0.4
"""Share of a GPU's peak that training is assumed to reach."""
GIB = 2**30
CPU = "CPU"


@dataclass(frozen=True, slots=True)
class Device:
    """What a model trains on.

    Attributes:
        name: as its maker writes it.
        memory: bytes that are free.
        peak: operations a second in 16-bit matrix products, without sparsity; None where unknown.
    """

    name: str
    memory: int
    peak: float | None = None


GPUS = {
    "B200": (180, 2250e12),
    "H200": (141, 989e12),
    "H100": (80, 989e12),
    "A100": (80, 312e12),
    "A100-40GB": (40, 312e12),
    "L40S": (48, 362e12),
    "A6000": (48, 155e12),
    "4090": (24, 165e12),
    "V100": (32, 125e12),
    "L4": (24, 121e12),
    "T4": (16, 65e12),
}
"""Names of GPUs to gigabytes and peak, from NVIDIA's data sheets."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one stage needs, of each device.

    Attributes:
        steps: optimiser steps.
        tokens: of a batch, all sequences together, on average.
        flops: of a batch.
        states: bytes held throughout.
        activations: bytes kept for backward, of a batch that is large by chance.
        logits: bytes of the loss.
        seconds: of all steps at `MFU`; None for a device whose peak is unknown or unused.
    """

    steps: int
    tokens: float
    flops: Flops
    states: States
    activations: int
    logits: int
    seconds: float | None

    @property
    def memory(self) -> int:
        """Bytes at the peak of a step."""
        return self.states.total + self.activations + self.logits


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What the stages of a run need.

    Attributes:
        stages: by name; those without steps are left out.
        device: what they would run on.
        notes: what the figures rest on.
        mfu: share of the device's peak behind the times.
    """

    stages: Mapping[str, StageEstimate]
    device: Device
    notes: tuple[str, ...] = ()
    mfu: float = MFU


def estimate_experiment(config: ExperimentConfig, gpu: str = "") -> RunEstimate:
    """Estimate a run without its weights: data is read, models are built as shapes.

    Args:
        config: the study.
        gpu: a key of `GPUS` to plan for; "": this machine.

    Raises:
        ConfigError: for an unknown GPU, or a model whose architecture is not known here.
        DataError: for data that cannot be trained on, naming the record.
    """
    device = named_gpu(gpu) if gpu else this_device(config)
    if gpu and config.trainer.precision == "auto":
        config = replace(config, trainer=replace(config.trainer, precision="bf16-mixed"))
    config = complete(config)
    corpus = build_corpus(config.data)
    vlm, stand_in = build_skeleton(config.model, corpus_texts(corpus), stand_in=True)
    head = build_head(config.alignment)
    if head is not None:
        head.setup(vlm.width)
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, config.model.max_length)
    stages = plan_stages(config, corpus, tokens, ImageCache(corpus, vlm.vision.image_size), aligned=head is not None)
    note = ("the model's tokenizer is not here: tokens are counted with the packaged one",) if stand_in else ()
    return estimate_stages(config, vlm, head, stages, device, note)


def estimate_prepared(study: Prepared) -> tuple[RunEstimate, list[str]]:
    """Estimate a run that is about to train, and check it unless ``trainer.memory_check`` is off.

    Returns:
        The estimate, and warnings.

    Raises:
        ConfigError: as `check_memory`.
        DataError: as `estimate_stages`.
    """
    config, vlm = study.config, study.vlm
    if config.model.quantize != "none":  # packed matrices have lost their shapes
        vlm, _ = build_skeleton(config.model, ())
    estimate = estimate_stages(config, vlm, study.head, study.stages, this_device(config))
    if not config.trainer.memory_check:
        return estimate, []
    resident = sum(p.nbytes for p in study.vlm.parameters()) if estimate.device.name == CPU else 0
    return estimate, check_memory(estimate, resident)


def estimate_stages(
    config: ExperimentConfig,
    vlm: MedVLM,
    head: AlignmentHead | None,
    stages: Mapping[str, Stage],
    device: Device,
    notes: tuple[str, ...] = (),
) -> RunEstimate:
    """Estimate planned stages, and check that their data can be trained on.

    Args:
        config: complete.
        vlm: the model, with weights or without; not changed.
        head: alignment head, set up, or None.
        stages: by name.
        device: what they would run on.
        notes: what the figures rest on.

    Raises:
        DataError: for data that cannot be trained on, naming the record.
    """
    shapes = shapes_of(vlm)
    estimates = {}
    for name, stage in stages.items():
        if stage.steps:
            assert stage.config.train is not None
            shapes.set_trainable(stage.config.train)
            load = measure_workload(stage.data)
            estimates[name] = _estimate(config, shapes, head if stage.config.alpha else None, stage, load, device)
    return RunEstimate(estimates, device, notes)


def _estimate(
    config: ExperimentConfig, vlm: MedVLM, head: AlignmentHead | None, stage: Stage, load: Workload, device: Device
) -> StageEstimate:
    options = config.trainer
    ranks = int(options.devices) * options.num_nodes
    planned = ranks // rank_and_ranks()[1]  # this process may be one of them, or speak for all
    batch = stage.config.batch_size or 1
    half = options.precision.startswith(("bf16", "16"))
    states = state_bytes(
        vlm, head, half=options.precision == "bf16-true", quantized=config.model.quantize == "4bit",
        shards=ranks if options.strategy.startswith("fsdp") else 1,
    )  # fmt: skip
    shapes = shapes_of(vlm).to(torch.bfloat16 if half else torch.float32)
    large = sum(_large(batch, values) for values in load.lengths.values())
    activations = activation_bytes(shapes, batch, large, options.checkpointing)
    if options.precision.endswith("-mixed"):  # autocast keeps the weights it has cast until the step ends
        activations += sum(p.numel() * 2 for p in vlm.parameters() if p.requires_grad and p.ndim > 1)
    output = vlm.llm.get_output_embeddings().weight  # type: ignore[operator]
    said = min(CHUNK, round(batch * float(load.supervised.mean())) * len(output))
    logits = said * (4 + 4) + (output.numel() * 4 if output.requires_grad else 0)
    flops = step_flops(vlm, load, batch, options.checkpointing)
    steps = stage.steps if stage.config.steps is not None else math.ceil(stage.steps / planned)
    seconds = None
    if device.peak is not None and half:
        seconds = steps * stage.config.accumulate * flops.total / (device.peak * MFU)
    tokens = batch * sum(float(values.mean()) for values in load.lengths.values())
    return StageEstimate(steps, tokens, flops, states, activations, logits, seconds)


def _large(batch: int, lengths: object) -> int:
    """Tokens of a batch that is three standard deviations above the mean, at most all of them the longest."""
    values = torch.as_tensor(lengths, dtype=torch.float64)
    chance = batch * float(values.mean()) + 3 * math.sqrt(batch) * float(values.std(correction=0))
    return round(min(chance, batch * float(values.max())))


def named_gpu(name: str) -> Device:
    """A GPU by its name in `GPUS`, in any case, as if nothing else used it.

    Raises:
        ConfigError: for an unknown one.
    """
    known = {key.lower(): key for key in GPUS}
    if name.lower() not in known:
        raise ConfigError(f"--gpu {name}: expected one of {', '.join(GPUS)}")
    key = known[name.lower()]
    return Device(key, GPUS[key][0] * 10**9, GPUS[key][1])


def this_device(config: ExperimentConfig) -> Device:
    """The device that a run on this machine would use, and its free memory."""
    if uses_gpu(config.trainer):
        name = torch.cuda.get_device_name()
        peaks = [GPUS[key][1] for key in sorted(GPUS, key=len, reverse=True) if key in name]
        return Device(name, torch.cuda.mem_get_info()[0], peaks[0] if peaks else None)
    return Device(CPU, free_memory())


def free_memory() -> int:
    """Bytes of main memory that a process can still get."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def check_memory(estimate: RunEstimate, resident: int = 0) -> list[str]:
    """Compare what stages need with what is free.

    Args:
        estimate: of the run.
        resident: bytes of weights that are in the device's memory already.

    Returns:
        A warning for each stage whose activations may not fit.

    Raises:
        ConfigError: for a stage whose weights, gradients and optimiser alone do not fit, with the numbers and the ways
            out.
    """
    warnings = []
    free = estimate.device.memory + resident
    for name, stage in estimate.stages.items():
        states = stage.states
        parts = (f"weights {_gib(states.weights + states.gathered)}, gradients {_gib(states.gradients)}, optimiser "
                 f"{_gib(states.optimizer)}")  # fmt: skip
        if states.total > free:
            raise ConfigError(
                f"{name} needs {_gib(states.total)} GiB of each device without any activation ({parts}), and "
                f"{estimate.device.name} has {_gib(free)} free: use LoRA (model.lora.rank=64), train fewer parts "
                f"({name}.train=projector), 16 bits (trainer.precision=bf16-true) or several devices "
                "(trainer.strategy=fsdp trainer.devices=N); trainer.memory_check=false tries anyway"
            )
        if stage.memory > free:
            warnings.append(
                f"{name} may run out of memory: {_gib(stage.memory)} GiB at the peak ({parts}, activations "
                f"{_gib(stage.activations + stage.logits)}), {_gib(free)} free; trainer.checkpointing=full or a "
                f"smaller {name}.batch_size with more {name}.accumulate need less"
            )
    return warnings


def _gib(size: float) -> str:
    return f"{size / GIB:.1f}"
