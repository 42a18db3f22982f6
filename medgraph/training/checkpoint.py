"""Checkpoints that survive a kill or a full disk: written aside, then renamed; the newest readable one is resumed."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.load import _METADATA_FILENAME

from medgraph.files import replacing
from medgraph.training.interrupts import Interrupts, obey

KEPT = 2
"""Checkpoints of a stage that are kept: the newest, and one to fall back to."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to ``<file>.part`` and renames: a checkpoint is whole or absent, never torn."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save atomically, straight to the disk it belongs to."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            torch.save(checkpoint, part)


class Checkpoints(L.Callback):
    """Saves between two optimiser steps: every so many of them, and when a signal asks the run to stop.

    A checkpoint is written when the next batch is about to start. Then a step is over with all that belongs to it: its
    accumulated batches, its line in the log, its validation. So nothing is done twice, left out, or half of it lost
    when the run continues. The last step of a stage needs none: the stage's weights follow.

    Args:
        folder: of the stage.
        every: optimiser steps between checkpoints.
        interrupts: the signals; obeyed after the checkpoint.
    """

    def __init__(self, folder: Path, every: int, interrupts: Interrupts) -> None:
        self.folder, self.every, self.interrupts = folder, every, interrupts
        self._saved = self._started = 0
        self._in_validation = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Signals wait for the end of a step from here on."""
        self._saved = trainer.global_step
        self.interrupts.wait()
        # Lightning's way to agree on SIGTERM: an exchange and a wait for the GPU in every batch
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save or stop, if this is the first batch of a step."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        self._started = trainer.global_step
        signal = self.interrupts.agreed()
        if signal or self._started % self.every == 0:
            self._save(trainer)
        if signal:
            obey(signal)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop within a validation, which will start again; several ranks finish it, they may not be at one batch."""
        if not self.interrupts.received or trainer.world_size > 1:
            return
        if self._started < trainer.global_step < trainer.max_steps:  # between two steps, and another one follows
            self._in_validation = True
            self._save(trainer)
        obey(self.interrupts.received)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Signals are obeyed at once again, first of all one that came meanwhile."""
        self.interrupts.release()
        if signal := self.interrupts.agreed():
            obey(signal)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """No checkpoint: a step may be half done. Signals are obeyed at once again."""
        self.interrupts.release()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the counters of a finished step: Lightning has counted the batch that waits.

        A validation that is to be repeated is stored as one that has been cut off in its first batch.
        """
        loops = checkpoint["loops"]["fit_loop"]
        batches = loops["epoch_loop.batch_progress"]
        for counts in (batches["total"], batches["current"]):
            counts["ready"] = counts["completed"]
        batches["is_last_batch"] = False
        if self._in_validation:
            validation = loops["epoch_loop.val_loop.batch_progress"]
            validation["current"] = dict.fromkeys(validation["current"], 0)
            validation["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}

    def _save(self, trainer: L.Trainer) -> None:
        step = trainer.global_step
        if step == self._saved:
            return
        trainer.save_checkpoint(self.folder / f"step={step}.ckpt", weights_only=False)
        self._saved = step
        if trainer.is_global_zero:
            for old in [file for file in checkpoints(self.folder) if step_of(file) <= step][KEPT:]:
                _remove(old)


def step_of(file: Path) -> int:
    """Optimiser steps of the stage behind a checkpoint."""
    return int(file.stem.partition("=")[2])


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a stage, the newest first."""
    return sorted(folder.glob("step=*.ckpt"), key=step_of, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps that can be read; unreadable ones are warned about and passed over."""
    for file in checkpoints(folder):
        try:
            _check(file)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            warnings.warn(f"{file} cannot be read ({reason}); trying the one before", stacklevel=2)
            continue
        return file
    return None


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a stage, and what a kill has left of one."""
    for file in folder.glob("step=*.ckpt*"):
        _remove(file)


def _check(file: Path) -> None:
    """Read a checkpoint, without running code that may be in it; of a folder of shards, what all ranks share."""
    if file.is_dir():
        file = file / _METADATA_FILENAME
    with zipfile.ZipFile(file) as content:
        if damaged := content.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")
    torch.load(file, map_location="cpu", weights_only=True, mmap=True)


def _remove(file: Path) -> None:
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink()
