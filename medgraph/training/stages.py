"""The three stages: what each trains on, for how long, and how it hands its weights on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichModelSummary, RichProgressBar
from rich.console import Console
from safetensors.torch import load_file, save_file

from medgraph.alignment.head import AlignmentHead
from medgraph.config import STAGES, ConfigError, ExperimentConfig, StageConfig, TrainerConfig
from medgraph.data.collate import Tokens
from medgraph.data.datamodule import CorpusDataModule
from medgraph.data.loading import ImageCache, rank_and_ranks
from medgraph.data.records import Corpus
from medgraph.files import read_json, replacing, write_json
from medgraph.models.medvlm import MedVLM
from medgraph.progress import bars_wanted
from medgraph.training.board import Board, Samples
from medgraph.training.checkpoint import AtomicCheckpointIO, Checkpoints, newest_checkpoint, remove_checkpoints, step_of
from medgraph.training.interrupts import Interrupts
from medgraph.training.logging import MetricsLogger, Throughput
from medgraph.training.matches import MatchWriter
from medgraph.training.module import StageModule
from medgraph.training.ranks import is_main, share, uses_gpu
from medgraph.training.spikes import SpikeGuard
from medgraph.training.strategies import make_strategy
from medgraph.training.weights import load_weights, parts_before, trained_state

SPLIT = {"stage1": "train", "stage2": "train", "stage3": "task"}
"""What each stage trains on: instruction data twice, then the small task set."""
VALIDATIONS = 12
"""Validations in a whole run, spread over the steps."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that will run."""

    config: StageConfig
    data: CorpusDataModule
    steps: int


def plan_stages(
    config: ExperimentConfig, corpus: Corpus, tokens: Tokens, images: ImageCache, aligned: bool
) -> dict[str, Stage]:
    """All stages with their data and length, checked before the first one trains."""
    stages = {}
    for name in STAGES:
        stage: StageConfig = getattr(config, name)
        assert stage.batch_size is not None
        data = CorpusDataModule(
            corpus, SPLIT[name], tokens, images, stage.batch_size, config.seed,
            views=tuple(stage.views) if aligned and stage.alpha > 0 else (), extended_lm=stage.extended_lm,
            num_workers=config.trainer.num_workers, eval_batch_size=config.eval.batch_size,
            changes=config.data.augment, same_data=not config.run.force,
        )  # fmt: skip
        count, ranks = len(data.dataset), rank_and_ranks()[1]
        batches = count // (stage.batch_size * ranks)
        if batches == 0 and stage.steps != 0 and stage.epochs != 0:
            if count == 0:
                raise ConfigError(f"{name}: the {SPLIT[name]} split of data={config.data.name} is empty; leave the "
                                  f"stage out with {name}.steps=0, or choose data that has one")  # fmt: skip
            where = f" on {ranks} devices" if ranks > 1 else ""
            raise ConfigError(f"{name}.batch_size={stage.batch_size}: {count} images do not fill one batch{where}; "
                              f"lower it, raise data.fraction, or leave the stage out with {name}.steps=0")  # fmt: skip
        steps = stage.steps
        if steps is None:
            assert stage.epochs is not None
            steps = round(stage.epochs * math.ceil(batches / stage.accumulate))
        stages[name] = Stage(stage, data, steps)
    return stages


def train_stages(
    config: ExperimentConfig,
    vlm: MedVLM,
    head: AlignmentHead | None,
    stages: dict[str, Stage],
    folder: Path,
    console: Console,
    interrupts: Interrupts,
) -> None:
    """Train stage after stage, each from the weights of the one before; finished stages are loaded.

    All ranks end with the whole model; rank 0 writes it.
    """
    total = sum(stage.steps for stage in stages.values())
    parts = parts_before(config)
    offset = 0
    for number, (name, stage) in enumerate(stages.items()):
        if stage.steps == 0:
            continue
        parts |= set(stage.config.train or ())
        files = {module: folder / name / f"{module}.safetensors" for module in ("weights", "head")}
        if share(files["weights"].exists()):
            load_weights(vlm, parts, files["weights"])
            if head is not None and files["head"].exists():
                head.load_state_dict(load_file(files["head"]))
            console.print(f"{name}: finished before, weights loaded")
            if is_main():
                remove_checkpoints(folder / name)  # a kill may have come first
        else:
            start = time.perf_counter()
            files["weights"].parent.mkdir(exist_ok=True)
            # every stage has noise of its own
            noise = len(STAGES) * config.seed + number
            module = StageModule(vlm, head, stage.config, stage.steps, noise, config.eval.max_new_tokens)
            logger = MetricsLogger(folder / "metrics.jsonl", name, offset)
            totals = _fit(
                module, stage, logger, max(1, total // VALIDATIONS), config, folder / name, console, interrupts
            )
            if is_main():
                _save_compute(folder / "compute.json", name, {"steps": stage.steps, **totals})
                if head is not None and stage.config.alpha > 0:
                    _save_tensors({key: value.detach() for key, value in head.state_dict().items()}, files["head"])
                _save_tensors(trained_state(vlm, parts), files["weights"])  # last: it marks the stage as finished
                remove_checkpoints(folder / name)  # only needed to resume inside the stage
            seconds = time.perf_counter() - start
            console.print(f"{name}: {stage.steps} steps on {len(stage.data.dataset)} conversations in {seconds:.0f} s")
        offset += stage.steps


def _fit(
    module: StageModule,
    stage: Stage,
    logger: MetricsLogger,
    validate_every: int,
    config: ExperimentConfig,
    folder: Path,
    console: Console,
    interrupts: Interrupts,
) -> dict[str, float]:
    options, name = config.trainer, folder.name
    throughput = Throughput()
    progress = options.progress and console.is_terminal
    trainer = make_trainer(
        accelerator=options.accelerator, devices=options.devices, num_nodes=options.num_nodes,
        strategy=make_strategy(options, module.vlm), precision=options.precision, max_steps=module.steps, max_epochs=-1,
        accumulate_grad_batches=module.stage.accumulate, gradient_clip_val=module.stage.grad_clip or None,
        logger=[logger, Board(folder.parent / "tensorboard", name)],
        log_every_n_steps=options.log_every, val_check_interval=validate_every * stage.config.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0, use_distributed_sampler=False, enable_progress_bar=progress, enable_checkpointing=False,
        plugins=[AtomicCheckpointIO()], enable_model_summary=False, default_root_dir=str(folder),
        callbacks=[
            Checkpoints(folder, options.checkpoint_every, interrupts), throughput, Samples(),
            SpikeGuard(options.spike), MatchWriter(folder.parent / "matches.json", name, stage.data.corpus),
            *([RichProgressBar(refresh_rate=5, leave=True), RichModelSummary(max_depth=2)] if progress else []),
        ],
    )  # fmt: skip
    checkpoint = share(newest_checkpoint(folder) if is_main() else None)
    if checkpoint is not None:
        logger.forget_after(step_of(checkpoint))
        console.print(f"{name}: resuming from {checkpoint.name}")
    else:
        logger.forget_after(0)
    fit(trainer, module, stage.data, checkpoint)
    return throughput.state_dict()


def fit(trainer: L.Trainer, module: L.LightningModule, data: L.LightningDataModule, checkpoint: Path | None) -> None:
    """Train, from a checkpoint where there is one.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    try:
        with bars_wanted(False):  # Lightning draws its own
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        if error.code == 1:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from error
        raise


def make_trainer(**options: Any) -> L.Trainer:
    """Build Lightning's trainer; what it refuses is a mistake in the configuration."""
    try:
        return L.Trainer(**options)
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error


def precision(options: TrainerConfig) -> Any:
    """Lightning's name of the precision: bf16-mixed where a GPU has it, unless the user says otherwise."""
    if options.precision != "auto":
        return options.precision
    return "bf16-mixed" if uses_gpu(options) and torch.cuda.is_bf16_supported() else "32-true"


def _save_compute(file: Path, stage: str, totals: dict[str, float]) -> None:
    """Add a stage's steps, seconds, images and tokens to ``compute.json``."""
    write_json(file, {**read_json(file), stage: totals})


def _save_tensors(state: dict[str, torch.Tensor], file: Path) -> None:
    with replacing(file) as part:
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, part)
