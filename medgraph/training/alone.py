"""Training on one device, of a module that is no stage of a run: resumable between any two steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from torch import Tensor

from medgraph.config import run_dir, to_dict
from medgraph.config.alone import AloneConfig
from medgraph.evaluation.estimate import Estimate
from medgraph.files import write_json
from medgraph.progress import bars_wanted
from medgraph.training.board import Board, write_hyperparameters
from medgraph.training.checkpoint import AtomicCheckpointIO, Checkpoints, newest_checkpoint, remove_checkpoints, step_of
from medgraph.training.interrupts import Interrupts
from medgraph.training.logging import Clock, MetricsLogger, quiet, write_csv
from medgraph.training.optimizer import cosine_adamw
from medgraph.training.rundir import claim, write_identity
from medgraph.training.spikes import SpikeGuard
from medgraph.training.stages import fit, make_trainer, precision
from medgraph.training.steps import start_batch


class Saved(Protocol):
    """Results that can be written to a file, whole or not at all."""

    def save(self, file: Path) -> None:
        """Write them."""


@contextmanager
def claim_run(config: AloneConfig) -> Iterator[tuple[Path, Interrupts]]:
    """Hold the directory of a run, with its configuration and environment in it.

    Inside, signals are obeyed between steps, notices of libraries are kept away, and bars show if they are wanted.

    Yields:
        The directory, and the signals for `fit_alone`.

    Raises:
        ConfigError: if the directory belongs to another run or is in use.
    """
    quiet()
    folder = run_dir(config)
    torch.set_num_threads(config.trainer.threads)
    with Interrupts() as interrupts, bars_wanted(config.trainer.progress), claim(folder):
        write_identity(config, folder)
        yield folder, interrupts


class AloneModule(L.LightningModule):
    """A training that `fit_alone` runs; dropout depends on seed and batch alone, so that it can be resumed.

    A subclass adds the ``training_step``, which calls `log_loss`. Logged: ``train/loss``, ``train/<term>``,
    ``train/lr``.

    Args:
        config: of the training.

    Attributes:
        batch_terms: last batch and its detached loss, for `medgraph.training.spikes.SpikeGuard`.
    """

    def __init__(self, config: AloneConfig) -> None:
        super().__init__()
        self.config = config

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """See `medgraph.training.steps.start_batch`."""
        start_batch(self, self.config.seed)

    def log_loss(self, batch: Any, loss: Tensor, terms: Mapping[str, Tensor | float] | None = None) -> None:
        """Log a step.

        Args:
            batch: with ``ids``, one an image.
            loss: scalar.
            terms: of it, by name.
        """
        loss = loss.detach()
        self.batch_terms = batch, {"loss": loss}
        rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        values = {"loss": loss, **(terms or {}), "lr": rate}
        self.log_dict({f"train/{name}": value for name, value in values.items()}, batch_size=len(batch.ids))
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=len(batch.ids))

    def configure_optimizers(self) -> Any:
        """See `medgraph.training.optimizer.cosine_adamw`."""
        config = self.config
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return cosine_adamw(trained, config.lr, config.weight_decay, config.warmup, config.steps)


class Measuring(L.Callback):
    """Logs figures between two steps: regularly, behind the last one, and before the first one if wanted.

    Args:
        every: optimiser steps.
        at_start: measure what training starts from.
    """

    def __init__(self, every: int, at_start: bool = True) -> None:
        self.every, self.at_start = every, at_start

    @abstractmethod
    def measure(self, module: Any) -> Mapping[str, float]:
        """Figures by key of the log; leaves the module in training."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure what training starts from."""
        if self.at_start and trainer.global_step == 0:
            self._log(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Measure between two steps."""
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._log(trainer, pl_module)

    def _log(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        figures = dict(self.measure(module))
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step - 1)


def fit_alone(
    module: AloneModule,
    data: L.LightningDataModule,
    config: AloneConfig,
    folder: Path,
    console: Console,
    interrupts: Interrupts,
    callbacks: Sequence[L.Callback] = (),
) -> None:
    """Train, from the newest checkpoint where there is one.

    ``metrics.jsonl``, ``tensorboard/`` and ``compute.json`` (steps and seconds, those before an interruption included)
    lie beside the checkpoints' folder.

    Args:
        module: what is trained.
        data: restores the place that its checkpoint state names.
        config: of the training; a gradient norm of 0 stands for any.
        folder: of checkpoints; its name marks the lines of the log.
        console: where progress goes.
        interrupts: the signals, obeyed between two steps.
        callbacks: more of them.
    """
    options = config.trainer
    folder.mkdir(exist_ok=True)
    logger = MetricsLogger(folder.parent / "metrics.jsonl", folder.name, 0)
    board = Board(folder.parent / "tensorboard", folder.name)
    clock = Clock()
    progress = options.progress and console.is_terminal
    trainer = make_trainer(
        accelerator=options.accelerator, devices=1, precision=precision(options), max_steps=config.steps,
        max_epochs=-1, gradient_clip_val=config.grad_clip or None, logger=[logger, board],
        log_every_n_steps=options.log_every, use_distributed_sampler=False, enable_progress_bar=progress,
        enable_checkpointing=False, plugins=[AtomicCheckpointIO()], enable_model_summary=False,
        default_root_dir=str(folder),
        callbacks=[
            Checkpoints(folder, options.checkpoint_every, interrupts), clock, SpikeGuard(options.spike), *callbacks,
            *([RichProgressBar(refresh_rate=5, leave=True)] if progress else []),
        ],
    )  # fmt: skip
    checkpoint = newest_checkpoint(folder)
    logger.forget_after(-1 if checkpoint is None else step_of(checkpoint))
    if checkpoint is not None:
        console.print(f"resuming from {checkpoint.name}")
    fit(trainer, module, data, checkpoint)
    write_json(folder.parent / "compute.json", {folder.name: {"steps": config.steps, **clock.totals}})
    console.print(f"{folder.name}: {config.steps} steps in {clock.totals['seconds']:.0f} s")


def finish_run(
    folder: Path, stage: str, config: AloneConfig, results: Saved, figures: Mapping[str, Estimate], console: Console
) -> None:
    """Write the log as a table, settings beside figures, and the results, which mark the run as finished.

    Args:
        folder: of the run.
        stage: folder of checkpoints, which are no longer needed.
        config: what was run.
        results: what was measured.
        figures: the main ones by name.
        console: where progress goes.
    """
    write_csv(folder / "metrics.jsonl", folder / "metrics.csv")
    write_hyperparameters(folder, to_dict(config), figures)
    results.save(folder / "results.json")
    remove_checkpoints(folder / stage)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
