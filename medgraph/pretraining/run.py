"""A whole pre-training: images, tower, training, probes, report; resumable at every step.

Run directory: ``config.yaml environment.json data.json metrics.jsonl metrics.csv tensorboard/ pretraining/ compute.json
encoder/ results.json report.html``. ``encoder/`` is what ``model.vision=…/encoder`` loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lightning as L
from rich.console import Console

from medgraph.data import build_corpus
from medgraph.data.cache import cache_folder, cache_images
from medgraph.data.records import Corpus
from medgraph.models.saving import hugging_face_model, save_encoder
from medgraph.models.vision import VisionTower, load_vision
from medgraph.pretraining.data import ViewDataModule, read_images
from medgraph.pretraining.module import PretrainModule
from medgraph.pretraining.options import PretrainConfig, check
from medgraph.pretraining.probing import Probes
from medgraph.pretraining.results import FIGURES, PretrainResults
from medgraph.training.alone import claim_run, finish_run, fit_alone
from medgraph.training.interrupts import Interrupts
from medgraph.training.representations import probe_tower
from medgraph.training.rundir import write_data_identity
from medgraph.training.towers import seeded_tower, tower_model, tower_weights

STAGE = "pretraining"


@dataclass(frozen=True, slots=True)
class PretrainOutcome:
    """What a pre-training leaves behind.

    Attributes:
        folder: of the run.
        encoder: for ``model.vision=ENCODER``.
        results: probes on the test split.
    """

    folder: Path
    encoder: Path
    results: PretrainResults


def pretrain(config: PretrainConfig, console: Console | None = None) -> PretrainOutcome:
    """Pre-train a tower, probe it and report; the same call continues an interrupted run.

    Args:
        config: the pre-training.
        console: where progress goes; default standard output.

    Raises:
        ConfigError: for a mistake in the configuration, or if the run directory belongs to another one or is in use.
        DataError: for data that is missing or malformed.
    """
    from medgraph.pretraining.report import write_run_report

    check(config)
    console = console or Console()
    with claim_run(config) as (folder, interrupts):
        encoder, finished = folder / "encoder", folder / "results.json"
        if finished.exists():
            return PretrainOutcome(folder, encoder, PretrainResults.load(finished))
        labelled = build_corpus(config.data)
        images = read_images(Path(config.images)) if config.images else labelled
        model = tower_model(config)
        facts = {"fingerprint": f"{images.fingerprint()} {labelled.fingerprint()}", "weights": tower_weights(model)}
        write_data_identity(folder, facts, config.run.force)
        tower = seeded_tower(model, config.seed)
        hugging_face_model(tower)
        console.print(f"[bold]{config.name}[/bold]  {folder}", soft_wrap=True)
        if encoder.exists():
            tower = load_vision(str(encoder), -1, random=False)
        else:
            if config.steps:
                _fit(tower, config, images, labelled, folder, console, interrupts)
            save_encoder(tower, encoder)
        results = PretrainResults.of(probe_tower(tower.eval(), labelled, config.seed))
        write_run_report(folder, config, results)
        figures = {name: probe.figures[FIGURES[0]] for name, probe in results.probes.items()}
        finish_run(folder, STAGE, config, results, figures, console)
    return PretrainOutcome(folder, encoder, results)


def _fit(
    tower: VisionTower,
    config: PretrainConfig,
    images: Corpus,
    labelled: Corpus,
    folder: Path,
    console: Console,
    interrupts: Interrupts,
) -> None:
    if config.data.cache:
        images = cache_images(images, round(config.views.source * tower.image_size), cache_folder(config.data.cache))
    module = PretrainModule(tower, config)
    data = ViewDataModule(
        images, tower.image_size, config.views, config.batch_size, config.seed, config.balance,
        config.trainer.num_workers,
    )  # fmt: skip
    probes: list[L.Callback] = []
    if config.probe_every:
        probes = [Probes(labelled, tower.image_size, config.probe_every, config.probe_images, config.seed)]
    fit_alone(module, data, config, folder / STAGE, console, interrupts, probes)
