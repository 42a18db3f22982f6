"""The page of a segmentation: overlap of every class with its interval, curves, images with both masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medgraph.data.records import Image
from medgraph.report.masks import draw_masks
from medgraph.report.page import picture
from medgraph.report.sections import Section, run_curves, write_sections
from medgraph.report.tables import RunTable
from medgraph.report.words import percent, share
from medgraph.segmentation.masks import MaskedImages
from medgraph.segmentation.module import predict
from medgraph.segmentation.network import SegmentationNet
from medgraph.segmentation.options import SegmentationConfig
from medgraph.segmentation.overlap import Counts, foreground_mean, overlap
from medgraph.segmentation.results import SegmentationResults
from medgraph.training.logging import read_metrics

CURVES = (
    ("Loss", {"train/loss": "loss"}),
    ("Overlap on validation", {"val/dice": "Dice", "val/iou": "IoU"}),
)
"""Title, and label by key of the log."""


@dataclass(frozen=True, slots=True)
class Example:
    """A test image.

    Attributes:
        rank: what it is an example of.
        name: of the image.
        dice: mean over its classes without the background.
        pixels: (S, S, 3) uint8.
        truth: (S, S) uint8, class of every pixel.
        predicted: (S, S) uint8.
    """

    rank: str
    name: str
    dice: float
    pixels: Image
    truth: Image
    predicted: Image


def choose_examples(net: SegmentationNet, source: MaskedImages, counts: Counts) -> list[Example]:
    """Worst, median and best test image by their Dice coefficient; those of background alone have none.

    Args:
        net: trained.
        source: of the images.
        counts: of the test split, see `medgraph.segmentation.overlap.count_pixels`.
    """
    dice = foreground_mean(overlap(counts)[0])
    order = np.argsort(dice, kind="stable")[: np.isfinite(dice).sum()]  # NaN comes last
    if not len(order):
        return []
    chosen = {"worst": order[0], "median": order[(len(order) - 1) // 2], "best": order[-1]}
    names = [source.splits["test"][number] for number in chosen.values()]
    pairs = np.stack([source.load(name, net.tower.image_size) for name in names])
    predicted = predict(net, pairs[..., :3])
    return [
        Example(rank, name, float(dice[number]), pair[..., :3], pair[..., 3], said)
        for (rank, number), name, pair, said in zip(chosen.items(), names, pairs, predicted, strict=True)
    ]


def overlap_table(results: SegmentationResults) -> RunTable:
    """Dice and IoU of the mean and of every class, with intervals over images."""
    names = [name.removeprefix("dice") for name in results.figures if name.startswith("dice")]
    rows = [
        (name.removeprefix("_") or "mean", *(share(results.figures[f"{figure}{name}"]) for figure in ("dice", "iou")))
        for name in names
    ]
    caption = (
        f"Test split, {results.n:,} images; overlap over the pixels of all of them, with 95 % intervals over images. "
        "The mean is that of the classes below."
    )
    return RunTable("overlap", "class", ("class", "Dice, %", "IoU, %"), rows, caption)


def write_run_report(
    folder: Path,
    config: SegmentationConfig,
    results: SegmentationResults,
    classes: Sequence[str],
    examples: Sequence[Example],
) -> Path:
    """Write ``report.html`` of one segmentation.

    Args:
        folder: of the run; its ``metrics.jsonl`` is read.
        config: what was run.
        results: figures of the network.
        classes: names, the background first.
        examples: shown with both masks.
    """
    shown = [
        picture(draw_masks(e.pixels, {"truth": e.truth, "prediction": e.predicted}, classes),
                f"{e.rank.capitalize()} of the test images, {e.name}: Dice {percent(e.dice)} %.")
        for e in examples
    ]  # fmt: skip
    sections = [
        Section("overlap", "How well masks agree", "Dice coefficient and intersection over union of the predicted and "
                "the true pixels of each class, measured once on the test split.", tables=[overlap_table(results)]),
        Section("training", "Training", "Nothing is chosen on validation.",
                run_curves(read_metrics(folder / "metrics.jsonl"), CURVES)),
        Section("examples", "Images with their masks", "The worst, the median and the best test image by the mean Dice "
                "coefficient of its own classes.", shown),
    ]  # fmt: skip
    facts = [f"tower: {config.vision}", f"{config.steps:,} steps of {config.batch_size} images",
             f"{len(classes) - 1} classes"]  # fmt: skip
    title = f"{config.name} · seed {config.seed}"
    return write_sections(folder / "report.html", title, "MedGraph · segmentation", facts, sections)
