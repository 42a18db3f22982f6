"""Training of a tower under a decoder, and what it predicts.

Letters: B images, S side in pixels, K classes.
"""

from __future__ import annotations

from typing import Any

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
from medgraph.training.alone import AloneModule, Measuring

BATCH = 64


class SegmentationModule(AloneModule):
    """Training of a network; what dropout draws depends on seed and batch alone, so that runs resume.

    Logged: ``train/loss``, ``train/lr``.

    Args:
        net: trained in place.
        config: of the run.
    """

    def __init__(self, net: SegmentationNet, config: SegmentationConfig) -> None:
        super().__init__(config)
        self.net = net

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = segmentation_loss(self.net(batch.images), batch.masks)
        self.log_loss(batch, loss)
        return loss


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
