"""Checkpoints that survive a kill or a full disk: written aside, then renamed; the newest readable one is resumed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from medgraph.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to ``<file>.part`` and renames: a checkpoint is whole or absent, never torn."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save atomically, straight to the disk it belongs to."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            torch.save(checkpoint, part)


def checkpoint_callback(folder: Path, every: int) -> ModelCheckpoint:
    """Keep the two newest checkpoints of a stage, one of them written when anything interrupts the run."""
    return ModelCheckpoint(
        dirpath=folder,
        filename="{step}",
        monitor="step",
        mode="max",
        save_top_k=2,
        every_n_train_steps=every,
        save_on_exception=True,
        enable_version_counter=False,
    )


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps that can be read; unreadable ones are warned about and passed over."""
    found = sorted(folder.glob("step=*.ckpt"), key=lambda file: int(file.stem.partition("=")[2]), reverse=True)
    for file in found:
        try:
            torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            warnings.warn(f"{file} cannot be read ({type(error).__name__}); trying the one before", stacklevel=2)
            continue
        return file
    return None
