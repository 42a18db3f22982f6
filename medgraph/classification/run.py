"""A whole fine-tuning of a classifier: images, tower, training, test, report; resumable at every step.

Run directory: ``config.yaml environment.json data.json metrics.jsonl metrics.csv tensorboard/ classifier/ compute.json
results.json report.html``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from medgraph.classification.data import LabelledDataModule
from medgraph.classification.module import Classifier, ClassifierModule, Validation
from medgraph.classification.options import ClassifierConfig, check
from medgraph.classification.results import ClassifierResults
from medgraph.config import DataConfig
from medgraph.data import build_corpus
from medgraph.data.cache import cache_folder, cache_images
from medgraph.data.records import Corpus
from medgraph.evaluation.probes import measure
from medgraph.training.alone import claim_run, finish_run, fit_alone
from medgraph.training.rundir import write_data_identity
from medgraph.training.towers import seeded_tower, tower_model, tower_weights

STAGE = "classifier"
RESAMPLES = 200
"""Of the intervals of one run; those of studies are over seeds."""


@dataclass(frozen=True, slots=True)
class ClassifierOutcome:
    """What a run leaves behind: its folder and its results."""

    folder: Path
    results: ClassifierResults


def classify(
    config: ClassifierConfig, console: Console | None = None, read: Callable[[DataConfig], Corpus] = build_corpus
) -> ClassifierOutcome:
    """Fine-tune a classifier, test it once and report; the same call continues an interrupted run.

    Args:
        config: of the run.
        console: where progress goes; default standard output.
        read: reads the images; studies hand them out again.

    Raises:
        ConfigError: for a mistake in the configuration, or if the run directory belongs to another one or is in use.
        DataError: for data that is missing or malformed.
    """
    from medgraph.classification.report import write_run_report

    check(config)
    console = console or Console()
    with claim_run(config) as (folder, interrupts):
        finished = folder / "results.json"
        if finished.exists():
            return ClassifierOutcome(folder, ClassifierResults.load(finished))
        corpus = read(config.data)
        model = tower_model(config, config.dvpt if config.tuning == "dvpt" else None)
        facts = {"fingerprint": corpus.fingerprint(), "weights": tower_weights(model)}
        write_data_identity(folder, facts, config.run.force)
        tower = seeded_tower(model, config.seed)
        if config.data.cache:
            corpus = cache_images(corpus, tower.image_size, cache_folder(config.data.cache))
        data = LabelledDataModule(
            corpus, tower.image_size, config.batch_size, config.seed, config.data.augment, config.trainer.num_workers
        )
        classifier = Classifier(tower, data.classes, config.tuning).train()
        validation = [Validation(data.load, data.splits["val"], config.validate_every)] if config.validate_every else []
        console.print(f"[bold]{config.name}[/bold]  {folder}", soft_wrap=True)
        fit_alone(ClassifierModule(classifier, config), data, config, folder / STAGE, console, interrupts, validation)
        on_validation, on_test = (classifier.probabilities(data.load, data.splits[name]) for name in ("val", "test"))
        test = measure(STAGE, config.lr, on_validation, on_test, np.random.default_rng(config.seed), RESAMPLES)
        trained = sum(each.numel() for each in classifier.parameters() if each.requires_grad)
        results = ClassifierResults(test, trained)
        accuracy = 100 * results.value("accuracy")
        console.print(f"{config.tuning}, {config.mix.name}: {accuracy:.1f} % right, {trained:,} parameters trained")
        write_run_report(folder, config, results)
        finish_run(folder, STAGE, config, results, test.figures, console)
    return ClassifierOutcome(folder, results)
