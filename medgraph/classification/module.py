"""A tower with a linear head, and its training under a mix.

Letters: B images, S side in pixels, N patches, D width, K classes, V versions of an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.classification.data import LabelledBatch
from medgraph.classification.options import ClassifierConfig, Tuning
from medgraph.data.collate import stack_images
from medgraph.data.datamodule import trained_batches
from medgraph.data.records import Image
from medgraph.evaluation.probes import Features
from medgraph.models.vision import VisionTower
from medgraph.training.alone import AloneModule, Measuring
from medgraph.training.representations import LabelledImage

BATCH = 64


class Classifier(nn.Module):
    """The mean of a tower's patches under a linear layer.

    Args:
        tower: D wide; with dynamic prompts for ``tuning="dvpt"``.
        classes: K.
        tuning: what of the tower is trained.
    """

    def __init__(self, tower: VisionTower, classes: int, tuning: Tuning = "full") -> None:
        super().__init__()
        self.tower, self.head = tower, nn.Linear(tower.width, classes)
        if tuning != "full":
            tower.model.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images, uint8 or float from 0 to 255, to (B, K) logits."""
        return self.head(self.tower(images).mean(1))

    @torch.no_grad()
    def activation_maps(self, images: Tensor, targets: Tensor) -> Tensor:
        """Class activation maps (arXiv:1512.04150): what each patch adds to the logit of the image's class.

        Args:
            images: (B, 3, S, S) float in [0, 1].
            targets: (B, K) class probabilities.

        Returns:
            (B, √N, √N) whose mean is the logit, targets weighting those of several classes.
        """
        patches = self.head(self.tower(255 * images))
        return (patches * targets.unsqueeze(1)).sum(-1).unflatten(1, (math.isqrt(patches.shape[1]), -1))

    def probabilities(self, load: Callable[[str], Image], images: Sequence[LabelledImage]) -> Features:
        """Class probabilities of images, as `Features` of width K."""
        made = []
        self.eval()
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                batch = stack_images([load(each.image) for each in images[start : start + BATCH]])
                logits = self(batch.to(self.head.weight.device))
                made.append(logits.double().softmax(-1).cpu().numpy())
        return Features(
            np.concatenate(made), np.array([each.label for each in images]), [each.group for each in images]
        )


class ClassifierModule(AloneModule):
    """Training of a classifier; what a mix draws depends on seed and batch alone, so that runs resume.

    Logged: ``train/loss``, ``train/lr``.

    Args:
        classifier: trained in place.
        config: of the run.
    """

    config: ClassifierConfig

    def __init__(self, classifier: Classifier, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.classifier = classifier

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        rng = np.random.default_rng((self.config.seed, trained_batches(self.trainer)))
        targets = F.one_hot(batch.labels, self.classifier.head.out_features).float()
        images, targets = self.config.mix(batch.images.float() / 255, targets, rng, self.classifier.activation_maps)
        loss = self.config.mix.loss(self.classifier(255 * images).float(), targets)
        self.log_loss(batch, loss)
        return loss


class Validation(Measuring):
    """Logs accuracy and cross entropy on validation images, regularly and behind the last step.

    Args:
        load: loads an image.
        images: of the split.
        every: optimiser steps.
    """

    def __init__(self, load: Callable[[str], Image], images: Sequence[LabelledImage], every: int) -> None:
        super().__init__(every, at_start=False)
        self.load, self.images = load, images

    def measure(self, module: Any) -> dict[str, float]:
        """Measure the classifier as it is."""
        found = module.classifier.probabilities(self.load, self.images)
        module.classifier.train()
        return {
            "val/accuracy": float((found.x.argmax(1) == found.y).mean()),
            "val/loss": float(-np.log(found.x[np.arange(len(found.y)), found.y].clip(1e-12)).mean()),
        }
