"""The LightningModule of a pre-training: tower and projector under one of the losses.

Letters: V views, B images, C width of the projection, M cells, D width of the tower.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from medgraph.models.vision import VisionTower
from medgraph.pretraining.data import ViewBatch
from medgraph.pretraining.graph_matching import GraphMatching
from medgraph.pretraining.losses import BYOL, EncodedViews, SimCLR, VICReg, ViewLoss, projector
from medgraph.pretraining.options import PretrainConfig
from medgraph.training.alone import AloneModule


def build_loss(config: PretrainConfig) -> ViewLoss:
    """The loss that ``config.method`` names."""
    if config.method == "lvm_med":
        return GraphMatching(config.projection, config.matching)
    baselines = {"simclr": SimCLR, "byol": BYOL, "vicreg": VICReg}
    return baselines[config.method](config.projection, config.baselines)


class Branch(nn.Module):
    """A tower and the projector behind the mean of its features.

    Args:
        tower: D wide.
        hidden: width inside the projector.
        projection: C.
    """

    def __init__(self, tower: VisionTower, hidden: int, projection: int) -> None:
        super().__init__()
        self.tower, self.projector = tower, projector(tower.width, hidden, projection)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (V, B, 3, S, S) uint8 pixels to projections (V, B, C) and feature maps (V, B, M, D)."""
        maps = self.tower(pixels.flatten(0, 1))
        projected = self.projector(maps.mean(1))
        return projected.unflatten(0, pixels.shape[:2]), maps.unflatten(0, pixels.shape[:2])


class PretrainModule(AloneModule):
    """Self-supervised pre-training of a tower.

    Checkpoints hold everything that training goes on from, the noise included. Logged: ``train/loss``,
    ``train/<term of the loss>``, ``train/lr``.

    Args:
        tower: trained in place.
        config: the pre-training.
    """

    config: PretrainConfig

    def __init__(self, tower: VisionTower, config: PretrainConfig) -> None:
        super().__init__(config)
        self.branch = Branch(tower, config.hidden, config.projection).train()
        self.loss = build_loss(config).train()
        self.target = copy.deepcopy(self.branch).requires_grad_(False) if self.loss.wants_targets else None
        self.noise = torch.Generator().manual_seed(config.seed)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        projected, maps = self.branch(batch.pixels)
        targets = None
        if self.target is not None:
            with torch.no_grad():
                targets = self.target(batch.pixels)[0].float()
        views = EncodedViews(projected.float(), maps, batch.boxes, batch.flips, batch.image_ids, self.noise, targets)
        with torch.amp.autocast(self.device.type, enabled=False):
            loss, terms = self.loss(views)
        self.log_loss(batch, loss, terms)
        return loss

    @torch.no_grad()
    def on_train_batch_end(self, outputs: Any, batch: ViewBatch, batch_idx: int) -> None:
        """Move the target network towards the one that has just been trained."""
        if self.target is None:
            return
        done = min(1.0, self.global_step / max(1, self.config.steps))
        momentum = 1 - (1 - self.config.baselines.momentum) * (math.cos(math.pi * done) + 1) / 2
        for old, new in zip(self.target.parameters(), self.branch.parameters(), strict=True):
            old.lerp_(new, 1 - momentum)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the noise."""
        checkpoint["noise"] = self.noise.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the noise."""
        self.noise.set_state(checkpoint["noise"])
