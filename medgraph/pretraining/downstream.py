"""What a pre-trained encoder is worth when all of it is trained on a task: classification, or segmentation.

Run directory: ``config.yaml environment.json data.json metrics.jsonl results.json``. A run is short and starts anew if
it was interrupted; a finished one is read. The test split is measured once, after the last step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from medgraph.config import ConfigError, DataConfig, ModelConfig, PhantomConfig, RunConfig, TrainerConfig, run_dir
from medgraph.config.presets import vision_source
from medgraph.config.validation import RANGES, Range, check_data, check_ranges
from medgraph.data import build_corpus
from medgraph.data.loading import ImageCache
from medgraph.data.records import Image
from medgraph.files import write_json
from medgraph.models.build import build_vision
from medgraph.models.vision import VisionTower
from medgraph.pretraining.masks import masked_images
from medgraph.pretraining.unet import SegmentationNet, overlap_figures, segmentation_loss
from medgraph.training.logging import quiet
from medgraph.training.optimizer import cosine_adamw
from medgraph.training.representations import labelled_images
from medgraph.training.rundir import claim, write_data_identity, write_identity

USED = ("accelerator", "threads", "log_every", "progress")
"""Options of the trainer that such a training has."""


@dataclass
class DownstreamConfig:
    """A task that a whole encoder is trained on."""

    name: str = "downstream"
    """Name of the study; the first folder under `run.root`."""
    seed: int = 0
    """Seed of the layers on top, of order and dropout."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=PhantomConfig)
    """Images with labels; for segmentation phantoms, unless `masks` is given."""
    masks: str = ""
    """Folder with `train` and `test`, each with `images/NAME.*` and `masks/NAME.png` (grey values number classes)."""
    task: Literal["classification", "segmentation"] = "segmentation"
    """Classes of the labels under a linear layer, or masks under a decoder in the manner of U-Net."""
    encoder: str = "tiny"
    """`encoder/` of a pre-training, or any tower as in `vision` there."""
    weights: Literal["random", "pretrained"] = "pretrained"
    """`random` keeps the architecture only."""
    steps: int = 300
    """Optimiser steps."""
    batch_size: int = 32
    """Images a step."""
    lr: float = 1e-3
    """Peak learning rate of AdamW, for encoder and what is on top."""
    warmup: float = 0.1
    """Share of the steps with a linearly rising learning rate; cosine decay to 0 follows."""
    weight_decay: float = 1e-4
    """AdamW weight decay of matrices."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


_RANGES: tuple[Range, ...] = (
    ("at least 1", lambda value: value >= 1, "steps batch_size"),
    ("0 or more", lambda value: value >= 0, "weight_decay"),
    ("a number above 0", lambda value: value > 0, "lr grad_clip"),
    ("a share in [0, 1)", lambda value: 0 <= value < 1, "warmup"),
)


def check(config: DownstreamConfig) -> None:
    """Check ranges and the encoder's name.

    Raises:
        ConfigError: naming the key, the value and what is accepted.
    """
    check_ranges(config, (*RANGES, *_RANGES))
    check_data(config.data)
    vision_source(config.encoder)
    defaults = TrainerConfig()
    for option in fields(TrainerConfig):
        value = getattr(config.trainer, option.name)
        if option.name not in USED and value != getattr(defaults, option.name):
            raise ConfigError(
                f"trainer.{option.name}={value}: fine-tuning on a task has trainer.{', '.join(USED)} only"
            )


@dataclass(frozen=True, slots=True)
class DownstreamResults:
    """Figures on the test split: ``accuracy``, or ``dice`` and ``iou`` (means, then ``dice_<class>`` … of each)."""

    figures: dict[str, float]

    def value(self, name: str) -> float:
        """One figure; NaN if the task has none of that name."""
        return self.figures.get(name, math.nan)


@dataclass(frozen=True, slots=True)
class DownstreamOutcome:
    """What a run leaves behind."""

    folder: Path
    results: DownstreamResults


@dataclass(frozen=True, slots=True)
class Task:
    """A network on a tower, data, loss and figures.

    Attributes:
        net: (B, 3, S, S) uint8 images to logits.
        sizes: images of ``train`` and ``test``.
        load: image and target (a class, or a mask) by split and number.
        loss: of logits and targets.
        measure: figures by the predicted classes and the targets of all test images.
        fingerprint: of the data.
    """

    net: nn.Module
    sizes: dict[str, int]
    load: Callable[[str, int], tuple[Image, Any]]
    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], dict[str, float]]
    fingerprint: str


def fine_tune(config: DownstreamConfig, console: Console | None = None) -> DownstreamOutcome:
    """Train encoder and task together, and measure; a finished run is read.

    Raises:
        ConfigError: for a mistake in the configuration.
        DataError: for data that is missing or malformed.
    """
    quiet()
    check(config)
    console = console or Console()
    folder = run_dir(config)
    finished = folder / "results.json"
    torch.set_num_threads(config.trainer.threads)
    with claim(folder):
        write_identity(config, folder)
        if not finished.exists():
            L.seed_everything(config.seed, workers=True, verbose=False)
            tower = build_vision(ModelConfig(vision=config.encoder, weights=config.weights, vision_layer=-1))
            torch.manual_seed(config.seed)  # whatever building the tower has drawn
            task = segmentation(config, tower) if config.task == "segmentation" else classification(config, tower)
            write_data_identity(folder, {"fingerprint": task.fingerprint}, config.run.force)
            task.net.to(_device(config.trainer.accelerator))
            train(task, config, folder)
            write_json(finished, measure(task, config.batch_size))
        results = DownstreamResults(json.loads(finished.read_text(encoding="utf-8")))
    console.print(f"[bold]{config.name}[/bold]  {folder}", soft_wrap=True)
    return DownstreamOutcome(folder, results)


def classification(config: DownstreamConfig, tower: VisionTower) -> Task:
    """The labels of a corpus under a linear layer on the mean over the patches."""
    corpus = build_corpus(config.data)
    load = ImageCache(corpus, tower.image_size)
    splits = {name: labelled_images(corpus, name) for name in ("train", "test")}
    classes = 1 + max(image.label for image in splits["train"])

    def load_one(split: str, number: int) -> tuple[Image, int]:
        image = splits[split][number]
        return load(image.image), image.label

    def figures(predicted: Tensor, labels: Tensor) -> dict[str, float]:
        return {"accuracy": (predicted == labels).double().mean().item()}

    net = nn.Sequential(tower, _MeanOverPatches(), nn.Linear(tower.width, classes))
    sizes = {name: len(images) for name, images in splits.items()}
    return Task(net, sizes, load_one, F.cross_entropy, figures, corpus.fingerprint())


def segmentation(config: DownstreamConfig, tower: VisionTower) -> Task:
    """Masks under a decoder; figures are means over all classes in the test split but the background."""
    source = masked_images(config.data, config.masks)

    def load(split: str, number: int) -> tuple[Image, Any]:
        return source.load(source.splits[split][number], tower.image_size)

    def figures(predicted: Tensor, labels: Tensor) -> dict[str, float]:
        dice, iou = overlap_figures(predicted, labels, len(source.classes))
        there = torch.bincount(labels.flatten(), minlength=len(source.classes)).bool()
        there[0] = False
        values = {"dice": dice[there].mean().item(), "iou": iou[there].mean().item()}
        for number in there.nonzero().flatten().tolist():
            values[f"dice_{source.classes[number]}"] = dice[number].item()
            values[f"iou_{source.classes[number]}"] = iou[number].item()
        return values

    sizes = {name: len(images) for name, images in source.splits.items()}
    net = SegmentationNet(tower, len(source.classes))
    return Task(net, sizes, load, segmentation_loss, figures, source.fingerprint)


class _MeanOverPatches(nn.Module):
    def forward(self, cells: Tensor) -> Tensor:
        return cells.mean(1)


def train(task: Task, config: DownstreamConfig, folder: Path) -> None:
    """Train for ``config.steps`` steps; every image once before any comes again."""
    parameters = [parameter for parameter in task.net.parameters() if parameter.requires_grad]
    setup = cosine_adamw(parameters, config.lr, config.weight_decay, config.warmup, config.steps)
    optimizer, schedule = setup["optimizer"], setup["lr_scheduler"]["scheduler"]
    rng, order = np.random.default_rng(config.seed), np.empty(0, np.int64)
    task.net.train()
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as log:
        for step in range(config.steps):
            while len(order) < config.batch_size:
                order = np.concatenate([order, rng.permutation(task.sizes["train"])])
            chosen, order = order[: config.batch_size], order[config.batch_size :]
            images, targets = _batch(task, "train", chosen.tolist())
            loss = task.loss(task.net(images), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.grad_clip)
            optimizer.step()
            schedule.step()
            if step % config.trainer.log_every == 0 or step == config.steps - 1:
                log.write(json.dumps({"step": step, "train/loss": loss.item()}) + "\n")


@torch.no_grad()
def measure(task: Task, batch_size: int) -> dict[str, float]:
    """Figures on the test split."""
    task.net.eval()
    predicted, truth = [], []
    for start in range(0, task.sizes["test"], batch_size):
        images, targets = _batch(task, "test", range(start, min(start + batch_size, task.sizes["test"])))
        predicted.append(task.net(images).argmax(1))
        truth.append(targets)
    return task.measure(torch.cat(predicted), torch.cat(truth))


def _batch(task: Task, split: str, numbers: Iterable[int]) -> tuple[Tensor, Tensor]:
    images, targets = zip(*(task.load(split, number) for number in numbers), strict=True)
    device = next(task.net.parameters()).device
    pixels, truth = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(targets)).long()
    return pixels.to(device), truth.to(device)


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda" if accelerator == "gpu" else accelerator)
