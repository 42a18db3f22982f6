"""Training of a tower under a decoder, and what it predicts.

Letters: B images, S side in pixels, K classes.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from medgraph.data.collate import stack_images
from medgraph.data.records import Image
from medgraph.segmentation.data import MaskedBatch
from medgraph.segmentation.masks import MaskedImages
from medgraph.segmentation.network import SegmentationNet, segmentation_loss
from medgraph.segmentation.options import SegmentationConfig
from medgraph.segmentation.overlap import Counts, count_pixels, overlap_figures
from medgraph.training.alone import Measuring
from medgraph.training.optimizer import cosine_adamw
from medgraph.training.steps import start_batch

BATCH = 64


class SegmentationModule(L.LightningModule):
    """Training of a network; what dropout draws depends on seed and batch alone, so that runs resume.

    Logged: ``train/loss``, ``train/lr``.

    Args:
        net: trained in place.
        config: of the run.

    Attributes:
        batch_terms: last batch and its detached loss, for `medgraph.training.spikes.SpikeGuard`.
    """

    def __init__(self, net: SegmentationNet, config: SegmentationConfig) -> None:
        super().__init__()
        self.net, self.config = net, config

    def on_train_batch_start(self, batch: MaskedBatch, batch_idx: int) -> None:
        """Let dropout depend on seed and batch alone, and log under the true step."""
        start_batch(self, self.config.seed)

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = segmentation_loss(self.net(batch.images), batch.masks)
        self.batch_terms = batch, {"loss": loss.detach()}
        values = {"train/loss": loss.detach(), "train/lr": self.optimizers().param_groups[0]["lr"]}  # type: ignore[union-attr]
        self.log_dict(values, batch_size=len(batch.ids))
        return loss

    def configure_optimizers(self) -> Any:
        """See `medgraph.training.optimizer.cosine_adamw`."""
        config = self.config
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return cosine_adamw(trained, config.lr, config.weight_decay, config.warmup, config.steps)


@torch.no_grad()
def predict(net: SegmentationNet, images: Image) -> Image:
    """Class of every pixel.

    Args:
        net: left in evaluation.
        images: (B, S, S, 3) uint8.

    Returns:
        (B, S, S) uint8.
    """
    logits = net.eval()(stack_images(list(images)).to(net.head.weight.device))
    return np.asarray(logits.argmax(1).to(torch.uint8).cpu())


def count_split(net: SegmentationNet, source: MaskedImages, split: str) -> Counts:
    """Pixels of the images of a split by true and predicted class, (N, K, K), see `count_pixels`."""
    names, counts = source.splits[split], []
    for start in range(0, len(names), BATCH):
        pairs = np.stack([source.load(name, net.tower.image_size) for name in names[start : start + BATCH]])
        counts.append(count_pixels(predict(net, pairs[..., :3]), pairs[..., 3], len(source.classes)))
    return np.concatenate(counts)


class Validation(Measuring):
    """Logs the mean overlap on validation images, regularly and behind the last step.

    Args:
        source: with a validation split.
        every: optimiser steps.
    """

    def __init__(self, source: MaskedImages, every: int) -> None:
        super().__init__(every, at_start=False)
        self.source = source

    def measure(self, module: Any) -> dict[str, float]:
        """Measure the network as it is."""
        figures = overlap_figures(count_split(module.net, self.source, "val"), self.source.classes)
        module.net.train()
        return {f"val/{name}": figures[name] for name in ("dice", "iou")}
