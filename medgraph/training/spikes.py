"""Stops a run whose gradient is not finite, or whose loss or gradient is far above what it was.

A step is judged while the next one runs, and before any checkpoint that would hold it, so a GPU is never waited for.
`medgraph.training.module.StageModule` checks each loss for finite values before its step.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from medgraph.training.later import Later
from medgraph.training.ranks import gather, mean_over_ranks, sum_over_ranks

WINDOW, ENOUGH = 64, 16
"""Steps behind a running median, and how many it needs; they start anew when a run continues."""
FLOOR = 0.1
"""Medians count as at least this: a loss that has come close to zero may well become many times as large."""
NORM = "gradient norm"


class SpikeGuard(L.Callback):
    """Judges every optimiser step by its gradient norm before clipping and by its losses; all ranks judge alike.

    Args:
        factor: how many times its running median a value may be; 0: any finite one may.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.history: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self.batches: list[tuple[dict[str, Tensor], Sequence[Sequence[str]]]] = []
        self.pending: tuple[int, list[str], Later, list[Sequence[str]]] | None = None

    def on_after_backward(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Remember the losses and records of a batch until its step."""
        batch, terms = pl_module.batch_terms
        self.batches.append(({name: value for name, value in terms.items() if "/" not in name}, batch.ids))

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Judge the step before, and let the device compute what this one is judged by.

        Raises:
            FloatingPointError: as `judge`.
        """
        self.judge(scaled=trainer.precision == "16-mixed")
        batches, self.batches = self.batches, []
        names = list(batches[0][0])
        losses = mean_over_ranks(torch.stack([torch.stack([*terms.values()]).float() for terms, _ in batches]))
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        norm = gradient_norm(parameters, isinstance(trainer.strategy, FSDPStrategy))
        values = torch.cat([norm.float().reshape(1), losses.amax(0)])
        ids = [image for _, images in batches for image in images]
        self.pending = (trainer.global_step, [NORM, *names], Later(values), ids)

    def on_save_checkpoint(self, trainer: L.Trainer, *_: Any) -> None:
        """Keep a step that is not good out of the checkpoint."""
        self.judge(scaled=trainer.precision == "16-mixed")

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Judge the last step."""
        self.judge(scaled=trainer.precision == "16-mixed")

    def judge(self, scaled: bool) -> None:
        """Judge the step that waits, if there is one.

        Args:
            scaled: gradients may overflow, as the scaler of 16-mixed lets them.

        Raises:
            FloatingPointError: naming the term, the records and how to go on.
        """
        if self.pending is None:
            return
        (step, names, values, ids), self.pending = self.pending, None
        for name, value in zip(names, values.get().tolist(), strict=True):
            history = self.history[name]
            if not math.isfinite(value):
                if not scaled:
                    raise FloatingPointError(
                        _message(step, name, "is not finite", ids, "use trainer.precision=32-true")
                    )
                continue
            middle = median(history) if len(history) >= ENOUGH else math.inf
            if self.factor and value > self.factor * max(FLOOR, middle):
                found = f"is {value:.3g}, after a median of {middle:.3g} over {len(history)} steps,"
                raise FloatingPointError(_message(step, name, found, ids, "raise trainer.spike (0: off)"))
            history.append(value)


def gradient_norm(parameters: Iterable[nn.Parameter], sharded: bool) -> Tensor:
    """Norm of all gradients over all ranks.

    Args:
        parameters: that are trained.
        sharded: each rank has flat shards of its own (classic FSDP).
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if isinstance(norm, DTensor):
        return norm.full_tensor()
    return sum_over_ranks(norm.square()).sqrt() if sharded else norm


def _message(step: int, name: str, found: str, ids: Sequence[Sequence[str]], option: str) -> str:
    records = ", ".join(record for images in gather(ids) for image in images for record in image)
    term = name if name == NORM else f"train/{name}"
    return (
        f"step {step}: the {term} {found} for records {records}. The last checkpoint is from before: look at the "
        f"records, start again with a lower learning rate, or {option} and run the same command again"
    )
