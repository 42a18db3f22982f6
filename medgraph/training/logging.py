"""What a run writes while it trains: ``metrics.jsonl`` and throughput."""

from __future__ import annotations

import csv
import json
import logging
import time
import warnings
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from medgraph.data.collate import ConversationBatch
from medgraph.files import write_text
from medgraph.training.ranks import sum_over_ranks

ROUTINE = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*module\\(s\\) in eval mode at the start of training.*",  # frozen parts are meant to be
    ".*exists and is not empty.*",  # a resumed stage
    ".*dataloader is not resumable.*",  # the sampler starts at the right batch, see CorpusDataModule
    ".*isinstance\\(treespec, LeafSpec.*",
    ".*torch.jit.script. is deprecated.*",
    ".*sync_dist=True.*",  # logged values are equal on all ranks
)
"""Warnings of Lightning and torch that say nothing about the user's run."""


class MetricsLogger(Logger):
    """Appends logged values to ``metrics.jsonl`` so that a resumed run continues its curve.

    Steps count over all stages: the first step of stage 2 follows the last of stage 1.

    Args:
        file: the JSON lines file.
        stage: name of the stage, stored with each line.
        offset: optimiser steps of the stages before.
    """

    def __init__(self, file: Path, stage: str, offset: int) -> None:
        super().__init__()
        self.file, self.stage, self.offset = file, stage, offset

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.stage

    @property
    def version(self) -> str:
        """There is one version: a resumed run continues it."""
        return ""

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Drop this stage's lines behind a checkpoint's step: they will be computed again."""
        lines = [line for line in read_metrics(self.file) if line["stage"] != self.stage or line["stage_step"] <= step]
        write_text(self.file, "".join(json.dumps(line) + "\n" for line in lines))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one line."""
        values = {key: float(value) for key, value in metrics.items() if key != "epoch"}
        done = (step or 0) + 1  # Lightning logs a step before it counts it
        line = {"stage": self.stage, "stage_step": done, "step": self.offset + done, **values}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is in ``config.yaml``."""


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """All lines of ``metrics.jsonl``; a last line that a kill has torn is left out."""
    if not file.exists():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def write_csv(source: Path, target: Path) -> None:
    """Turn ``metrics.jsonl`` into a table with one row a step and empty cells where nothing was logged."""
    lines = read_metrics(source)
    columns = list(dict.fromkeys(key for line in lines for key in line))
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines)


class Clock(L.Callback):
    """Keeps the seconds of training steps over resumes; validation and checkpoints do not count.

    Attributes:
        totals: ``seconds`` so far.
    """

    def __init__(self) -> None:
        self.totals = {"seconds": 0.0}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start the clock of a step."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop it."""
        self.totals["seconds"] += time.perf_counter() - self._start

    def state_dict(self) -> dict[str, float]:
        """Totals for the checkpoint."""
        return dict(self.totals)

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Continue the totals."""
        self.totals = dict(state_dict)


class Throughput(Clock):
    """Logs ``train/images_per_sec`` and ``train/tokens_per_sec``, and keeps the stage's totals over resumes.

    Images and tokens are those of all ranks. Tokens are real ones of every pass: conversations (image tokens included),
    extended conversations, node texts.

    Attributes:
        totals: ``seconds``, ``images`` and ``tokens`` of the stage so far.
    """

    def __init__(self) -> None:
        self.totals = {"seconds": 0.0, "images": 0.0, "tokens": 0.0}
        self._logged = dict(self.totals)
        self._tokens = torch.tensor(0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: ConversationBatch, batch_idx: int
    ) -> None:
        """Count, and log when the trainer logs."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        passes = [batch.lm, *batch.texts.values(), *([batch.lm_extended] if batch.lm_extended else [])]
        self._tokens = self._tokens + sum_over_ranks(torch.stack([tokens.mask.sum() for tokens in passes]).sum())
        self.totals["images"] += len(batch.ids) * trainer.world_size
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._count_tokens()
            seconds = self.totals["seconds"] - self._logged["seconds"]
            for name in ("images", "tokens"):
                rate = (self.totals[name] - self._logged[name]) / seconds
                pl_module.log(f"train/{name}_per_sec", rate, batch_size=1)
            self._logged = dict(self.totals)

    def _count_tokens(self) -> None:
        self.totals["tokens"] += float(self._tokens)
        self._tokens = torch.zeros_like(self._tokens)

    def state_dict(self) -> dict[str, float]:
        """Totals for the checkpoint."""
        self._count_tokens()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Continue the totals."""
        super().load_state_dict(state_dict)
        self._logged = dict(state_dict)


def quiet() -> None:
    """Keep Lightning's and transformers' advertisements and routine notices away from the user's terminal."""
    for name in ("pytorch.utilities.rank_zero", "pytorch.accelerators.cuda", "fabric.utilities.distributed"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for message in ROUTINE:
        warnings.filterwarnings("ignore", message=message)
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
