"""What a tower has learnt so far: probes on validation, and whether its features collapse.

Letters: N images, D width, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus
from medgraph.evaluation.probes import Features, fit_linear, knn_probabilities
from medgraph.evaluation.statistics import Floats
from medgraph.models.vision import VisionTower
from medgraph.training.alone import Measuring
from medgraph.training.representations import labelled_images, tower_features

NEIGHBOURS, DECAY = 10, 1e-2
"""Of the probes during training, where nothing is chosen."""


def feature_sd(features: Floats) -> float:
    r"""Mean standard deviation over the columns of unit features, times √D.

    1 where features fill all directions alike, 0 where all are equal (SimSiam, arXiv:2011.10566, section 4.1).

    Args:
        features: (N, D).

    Example:
        >>> feature_sd(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), feature_sd(np.ones((4, 2)))
        (1.0, 0.0)
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return round(float(unit.std(0).mean() * features.shape[1] ** 0.5), 9)


def effective_rank(features: Floats) -> float:
    r"""Exponential of the entropy of the normalised singular values of the centred features (RankMe, arXiv:2210.02885).

    .. math:: \exp\big( -\sum_k p_k \log p_k \big), \qquad p_k = \sigma_k / \sum_l \sigma_l

    Args:
        features: (N, D).

    Returns:
        1 to min(N, D); 0 if all features are equal.

    Example:
        >>> round(effective_rank(np.vstack([np.eye(3), -np.eye(3)])), 6), effective_rank(np.ones((5, 3)))
        (3.0, 0.0)
    """
    singular = np.linalg.svd(features - features.mean(0), compute_uv=False)
    if singular.sum() <= 1e-9 * max(1.0, float(np.abs(features).max())):
        return 0.0
    shares = singular / singular.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def quick_probes(train: Features, validation: Features) -> dict[str, float]:
    """Accuracies of both probes with fixed settings, and the collapse figures of the validation features."""
    classes = int(train.y.max()) + 1
    neighbours = min(NEIGHBOURS, len(train.y))
    knn = knn_probabilities(train.x, train.y, [validation.x], neighbours, classes)[0]
    linear = fit_linear(train.x, train.y, DECAY, classes)(validation.x)
    return {
        "val/knn": float((knn.argmax(1) == validation.y).mean()),
        "val/linear": float((linear.argmax(1) == validation.y).mean()),
        "val/feature_sd": feature_sd(validation.x),
        "val/effective_rank": effective_rank(validation.x),
    }


class Probes(Measuring):
    """Logs probes and collapse figures of the tower before the first step and regularly, see `quick_probes`.

    Args:
        corpus: labelled images; probes are fitted on ``train`` and measured on ``val``.
        side: of the tower's images in pixels.
        every: optimiser steps between probes.
        limit: training images that probes are fitted on, at most.
        seed: seed of their choice.
    """

    def __init__(self, corpus: Corpus, side: int, every: int, limit: int, seed: int) -> None:
        super().__init__(every)
        self.load = ImageCache(corpus, side)
        train, validation = (labelled_images(corpus, name) for name in ("train", "val"))
        chosen = np.random.default_rng(seed).permutation(len(train))[:limit]
        self.splits = [[train[i] for i in sorted(chosen)], validation]

    def measure(self, module: Any) -> dict[str, float]:
        """Probe the tower as it is."""
        tower: VisionTower = module.branch.tower
        tower.eval()
        train, validation = (tower_features(tower, self.load, split) for split in self.splits)
        tower.train()
        return quick_probes(train, validation)
