"""A whole segmentation: images with masks, tower under a decoder, training, test, report; resumable at every step.

Run directory: ``config.yaml environment.json data.json metrics.jsonl metrics.csv tensorboard/ segmentation/
compute.json results.json report.html``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from medgraph.config import DataConfig
from medgraph.segmentation.data import MaskedDataModule
from medgraph.segmentation.masks import MaskedImages, masked_images
from medgraph.segmentation.module import SegmentationModule, Validation, count_split
from medgraph.segmentation.network import SegmentationNet
from medgraph.segmentation.options import SegmentationConfig, check
from medgraph.segmentation.results import SegmentationResults
from medgraph.training.alone import claim_run, finish_run, fit_alone
from medgraph.training.ranks import device_of
from medgraph.training.rundir import write_data_identity
from medgraph.training.towers import seeded_tower, tower_model, tower_weights

STAGE = "segmentation"


@dataclass(frozen=True, slots=True)
class SegmentationOutcome:
    """What a run leaves behind: its folder and its results."""

    folder: Path
    results: SegmentationResults


def segment(
    config: SegmentationConfig,
    console: Console | None = None,
    read: Callable[[DataConfig, str], MaskedImages] = masked_images,
) -> SegmentationOutcome:
    """Train tower and decoder, test them once and report; the same call continues an interrupted run.

    Args:
        config: of the run.
        console: where progress goes; default standard output.
        read: reads the images with their masks; studies hand them out again.

    Raises:
        ConfigError: for a mistake in the configuration, or if the run directory belongs to another one or is in use.
        DataError: for data that is missing or malformed.
    """
    from medgraph.segmentation.report import choose_examples, write_run_report

    check(config)
    console = console or Console()
    with claim_run(config) as (folder, interrupts):
        finished = folder / "results.json"
        if finished.exists():
            return SegmentationOutcome(folder, SegmentationResults.load(finished))
        source = read(config.data, config.masks)
        model = tower_model(config)
        facts = {"fingerprint": source.fingerprint, "weights": tower_weights(model)}
        write_data_identity(folder, facts, config.run.force)
        tower = seeded_tower(model, config.seed)
        net = SegmentationNet(tower, len(source.classes)).train()
        data = MaskedDataModule(source, tower.image_size, config.batch_size, config.seed, config.trainer.num_workers)
        validated = config.validate_every and source.splits["val"]
        callbacks = [Validation(source, config.validate_every)] if validated else []
        console.print(f"[bold]{config.name}[/bold]  {folder}", soft_wrap=True)
        fit_alone(SegmentationModule(net, config), data, config, folder / STAGE, console, interrupts, callbacks)
        counts = count_split(net.to(device_of(config.trainer)), source, "test")
        results = SegmentationResults.of(counts, source.splits["test"], source.classes, config.seed)
        console.print(f"{len(source.classes) - 1} classes: mean Dice {100 * results.value('dice'):.1f} %")
        write_run_report(folder, config, results, source.classes, choose_examples(net, source, counts))
        finish_run(folder, STAGE, config, results, results.figures, console)
    return SegmentationOutcome(folder, results)
