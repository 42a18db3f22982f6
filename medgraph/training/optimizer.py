"""The optimiser of every training: AdamW under one warm-up and one cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def cosine_adamw(
    parameters: Sequence[nn.Parameter], lr: float, weight_decay: float, warmup: float, steps: int
) -> dict[str, Any]:
    """AdamW with decay on matrices only; linear warm-up and cosine decay to zero.

    Args:
        parameters: what is trained.
        lr: peak learning rate.
        weight_decay: of matrices; biases and norms have none.
        warmup: share of the steps with a rising learning rate, in [0, 1).
        steps: of the whole training.

    Returns:
        What Lightning expects of ``configure_optimizers``.
    """
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=lr, fused=parameters[0].device.type in ("cpu", "cuda")
    )
    optimizer._step_supports_amp_scaling = False  # Lightning unscales, then clips
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
