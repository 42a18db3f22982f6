"""The configuration of a pre-training, beyond `TowerConfig`. A field's text is its documentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medgraph.config import ConfigError, DataConfig, PhantomConfig
from medgraph.config.alone import TowerConfig, check_tower
from medgraph.config.validation import Range

Method = Literal["lvm_med", "simclr", "byol", "vicreg"]


@dataclass
class ViewOptions:
    """How the views of an image are drawn: two large crops, and small ones beside them."""

    source: float = 1.5
    """Side of the image that is cropped, in sides of a view."""
    min_area: float = 0.4
    """Smallest share of the image that a large crop covers; it is also the largest share of a small one."""
    local_crops: int = 0
    """Small crops an image, resized to the size of the large ones; each is matched to both of these."""
    min_local_area: float = 0.1
    """Smallest share of the image that a small crop covers."""
    flip: float = 0.5
    """Share of the views that are mirrored. Left becomes right."""
    jitter: float = 0.4
    """Largest change of brightness, contrast and saturation, as a share."""
    blur: float = 0.5
    """Share of the views that are blurred."""


@dataclass
class MatchingOptions:
    """The graph matching of LVM-Med (arXiv:2306.11925). Published: temperature 1, no residual, one sample, I-MLE."""

    graph_size: int = 16
    """Nodes of a graph; batches are cut into as many."""
    k: int = 5
    """Neighbours of a node, found within its own view."""
    alpha: float = 0.8
    """Weight of the global affinity; the rest is for the local one. 1: without it."""
    local_grid: int = 7
    """Feature maps are averaged down to so many cells a side before they are compared."""
    local_pairs: int = 20
    """Best pairs of cells that count in a local affinity (VICRegL's number; LVM-Med does not give its own)."""
    message_passing: bool = True
    """Let nodes see their neighbours through two GCN layers before they are compared."""
    residual: bool = True
    """Add what goes into these layers to what comes out."""
    edge_weight: float = 1.0
    """Weight of the second-order affinities between edges. 0: without them."""
    temperature: float = 0.1
    """Affinities are divided by it before noise is added."""
    noise: float = 1.0
    """Scale of the Gumbel noise on affinities of nodes and of edges. 0: none."""
    num_samples: int = 8
    """Draws of noise a step."""
    gradient: Literal["imle", "closed_form", "blackbox"] = "closed_form"
    """See `medgraph.alignment.matching_loss.MatchingLoss`."""
    lam: float = 80.0
    """Step towards the target matching in I-MLE, and divisor of the gradient."""


OFFICIAL: dict[str, float | str] = {"temperature": 1.0, "residual": False, "num_samples": 1, "gradient": "imle"}
"""What the published LVM-Med (arXiv:2306.11925) sets otherwise in `MatchingOptions`."""


@dataclass
class BaselineOptions:
    """SimCLR, BYOL and VICReg; each reads its own."""

    temperature: float = 0.1
    """Of SimCLR's softmax."""
    momentum: float = 0.99
    """Of BYOL's target network at the start; rises to 1 along a cosine."""
    invariance: float = 25.0
    """Weight of VICReg's distance between views."""
    variance: float = 25.0
    """Weight of VICReg's hinge on the standard deviation."""
    covariance: float = 1.0
    """Weight of VICReg's squared covariances."""


@dataclass
class PretrainConfig(TowerConfig):
    """A pre-training: images, tower, method, and the labels that probes are fitted to."""

    name: str = "pretraining"
    data: DataConfig = field(default_factory=PhantomConfig)
    """Any source: images of `train` and `task` without their labels; probes use the labels of train, val and test."""
    images: str = ""
    """Folder of images to pre-train on instead, no labels needed; its subfolders count as modalities."""
    weights: Literal["pretrained", "random"] = "random"
    method: Method = "lvm_med"
    """Which loss; all others settings are the same for every method."""
    batch_size: int = 64
    """Images a step; a multiple of `matching.graph_size` for LVM-Med."""
    weight_decay: float = 1e-4
    balance: float = 1.0
    """0: images as often as they are there; 1: all modalities equally often; between: by counts to the power 1 - it."""
    hidden: int = 512
    """Width inside the projector."""
    projection: int = 128
    """Width behind the projector, where views are compared."""
    views: ViewOptions = field(default_factory=ViewOptions)
    matching: MatchingOptions = field(default_factory=MatchingOptions)
    baselines: BaselineOptions = field(default_factory=BaselineOptions)
    probe_every: int = 200
    """Optimiser steps between probes on validation; 0: none before the end."""
    probe_images: int = 1000
    """Labelled training images that these probes are fitted to, at most."""


_RANGES: tuple[Range, ...] = (
    ("0 or more", lambda value: value >= 0,
     "probe_every views.local_crops matching.edge_weight matching.noise "
     "baselines.invariance baselines.variance baselines.covariance"),
    ("at least 1", lambda value: value >= 1,
     "hidden projection probe_images views.source matching.k matching.local_grid matching.local_pairs "
     "matching.num_samples"),
    ("at least 2", lambda value: value >= 2, "batch_size matching.graph_size"),
    ("a number above 0", lambda value: value > 0, "matching.temperature matching.lam baselines.temperature"),
    ("a share in [0, 1)", lambda value: 0 <= value < 1, "views.jitter baselines.momentum"),
    ("a share in (0, 1]", lambda value: 0 < value <= 1, "views.min_area views.min_local_area"),
    ("a number in [0, 1]", lambda value: 0 <= value <= 1, "balance matching.alpha views.flip views.blur"),
)  # fmt: skip


def check(config: PretrainConfig) -> None:
    """Check ranges and combinations.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_tower(config, _RANGES)
    if config.images and not Path(config.images).is_dir():
        raise ConfigError(f"images={config.images}: no such folder")
    if config.views.min_local_area > config.views.min_area:
        raise ConfigError(f"views.min_local_area={config.views.min_local_area} is above "
                          f"views.min_area={config.views.min_area}, the largest area of a small crop")  # fmt: skip
    size = config.matching.graph_size
    if config.method == "lvm_med" and config.batch_size % size:
        raise ConfigError(f"batch_size={config.batch_size} cannot be cut into graphs of matching.graph_size={size}; "
                          f"use batch_size={max(1, round(config.batch_size / size)) * size}")  # fmt: skip
