"""A whole dual-encoder pre-training: pairs, encoders, training, figures, report; resumable at every step.

Run directory: ``config.yaml environment.json data.json metrics.jsonl metrics.csv tensorboard/ contrast/ compute.json
encoder/ results.json report.html``. ``encoder/`` is what `medgraph.prompting.encoder.load_dual_encoder` and
``model.vision=…/encoder`` load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console

from medgraph.alignment.options import make_head
from medgraph.contrast.data import SPLITS, PairDataModule, pairs_in
from medgraph.contrast.encoder import build_encoder, build_head, save_dual_encoder
from medgraph.contrast.measure import measure, measure_split
from medgraph.contrast.module import ContrastModule
from medgraph.contrast.options import ContrastConfig, check
from medgraph.contrast.results import ContrastResults
from medgraph.data import build_corpus
from medgraph.data.audit import audit
from medgraph.data.cache import cache_folder, cache_images
from medgraph.data.images import image_root
from medgraph.data.records import Corpus
from medgraph.prompting.encoder import DualEncoder, load_dual_encoder
from medgraph.training.alone import Measuring, claim_run, finish_run, fit_alone
from medgraph.training.interrupts import Interrupts
from medgraph.training.ranks import device_of
from medgraph.training.rundir import write_data_identity

STAGE = "contrast"


@dataclass(frozen=True, slots=True)
class ContrastOutcome:
    """What a dual-encoder pre-training leaves behind.

    Attributes:
        folder: of the run.
        encoder: for ``model.vision=ENCODER``, ``encoder=ENCODER``, and `load_dual_encoder`.
        results: figures on the test split.
    """

    folder: Path
    encoder: Path
    results: ContrastResults


class Measures(Measuring):
    """Logs zero-shot and retrieval figures on validation, before the first step and regularly.

    Args:
        corpus: its split ``val`` is measured.
        config: the pre-training.
    """

    def __init__(self, corpus: Corpus, config: ContrastConfig) -> None:
        super().__init__(config.measure_every)
        self.corpus, self.config = corpus, config

    def measure(self, module: Any) -> dict[str, float]:
        """Measure the encoder as it is."""
        encoder: DualEncoder = module.encoder
        encoder.eval()
        figures = measure_split(encoder, self.corpus, self.config, "val", resamples=1)
        encoder.train()
        return {f"val/{name}": each.value for name, each in figures.items()}


def pretrain_dual(config: ContrastConfig, console: Console | None = None) -> ContrastOutcome:
    """Train a dual encoder, measure it and report; the same call continues an interrupted run.

    Args:
        config: the pre-training.
        console: where progress goes; default standard output.

    Raises:
        ConfigError: for a mistake in the configuration, or if the run directory belongs to another one or is in use.
        DataError: for data that is missing or malformed.
    """
    from medgraph.contrast.report import write_run_report

    check(config)
    console = console or Console()
    with claim_run(config) as (folder, interrupts):
        saved, finished = folder / "encoder", folder / "results.json"
        if finished.exists():
            return ContrastOutcome(folder, saved, ContrastResults.load(finished))
        corpus = build_corpus(config.data)
        for split in ("val", "test"):  # measured later
            pairs_in(corpus, [split], config.text)
        leaks = audit(corpus, image_root(corpus.load_image), near=False)
        facts = {"fingerprint": corpus.fingerprint(), "weights": None, "leaks": leaks.verdict()}
        write_data_identity(folder, facts, config.run.force)
        console.print(f"[bold]{config.name}[/bold]  {folder}", soft_wrap=True)
        if not leaks.clean:
            console.print(f"[bold red]{leaks.verdict()}[/]", soft_wrap=True)
        if not saved.exists():
            _train(config, corpus, folder, console, interrupts)
        encoder = load_dual_encoder(str(saved)).to(device_of(config.trainer))
        results = ContrastResults(measure(encoder, corpus, config))
        write_run_report(folder, config, results, [] if leaks.clean else [leaks.verdict()])
        finish_run(folder, STAGE, config, results, results.figures, console)
    return ContrastOutcome(folder, saved, results)


def _train(config: ContrastConfig, corpus: Corpus, folder: Path, console: Console, interrupts: Interrupts) -> None:
    L.seed_everything(config.seed, workers=True, verbose=False)
    texts = [pair.text for pair in pairs_in(corpus, SPLITS, config.text)]
    random = config.weights == "random" or config.encoder == "tiny"
    encoder = build_encoder(config.encoder, random, texts)
    head = None
    if config.steps:
        torch.manual_seed(config.seed)  # whatever building the encoder has drawn
        head = build_head(make_head(config.alignment), encoder, goes_on=not random)
        if config.data.cache:
            corpus = cache_images(corpus, encoder.image_size, cache_folder(config.data.cache))
        data = PairDataModule(
            corpus, encoder, config.text, config.batch_size, config.seed, config.data.augment, config.sentences,
            config.trainer.num_workers,
        )  # fmt: skip
        callbacks = [Measures(corpus, config)] if config.measure_every else []
        fit_alone(ContrastModule(encoder, head, config), data, config, folder / STAGE, console, interrupts, callbacks)
    save_dual_encoder(encoder.eval(), head, folder / "encoder")
