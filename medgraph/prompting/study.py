"""A few-shot study: encoder, methods × shots × seeds, one report.

The folder is ``<run.root>/<name>/<run.name, or a hash of the configuration>``: ``config.yaml environment.json data.json
encoder/ cells/ results.json report.html`` and tables. A cell is one fit: its predictions of the test images. The same
command skips finished cells, so methods and seeds can be added later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from medgraph.config import ConfigError, parse, run_dir
from medgraph.data import build_corpus
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus
from medgraph.files import read_json, write_json
from medgraph.progress import bars_wanted, track
from medgraph.prompting.classes import ClassTexts, read_descriptions
from medgraph.prompting.draw import Task, draw, make_task
from medgraph.prompting.encoder import DualEncoder, load_dual_encoder
from medgraph.prompting.features import encode_set
from medgraph.prompting.options import FewShotConfig, check
from medgraph.prompting.protocol import METHODS, Protocol
from medgraph.prompting.report import tables, write_report
from medgraph.prompting.results import FewShotResults
from medgraph.prompting.tiny_clip import pretrain
from medgraph.training.ranks import device_of
from medgraph.training.rundir import claim, write_data_identity, write_identity
from medgraph.training.study import split_options


@dataclass(frozen=True, slots=True)
class FewShotStudy:
    """What a study compares.

    Attributes:
        title: heading of its report.
        base: the configuration; its name is the study's.
        reference: the method that is compared with all others, and always runs.
        seeds: draws of the shots, from 0.
    """

    title: str
    base: FewShotConfig
    reference: str = "dude"
    seeds: int = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One fit.

    Attributes:
        setting: ``all_classes`` or ``base_to_new``, see `Protocol`.
        method: a key of `METHODS`.
        shots: images a class.
        seed: of the draw.
    """

    setting: str
    method: str
    shots: int
    seed: int

    def file(self, folder: Path) -> Path:
        """Where its predictions are."""
        return folder / "cells" / self.setting / self.method / f"shots-{self.shots}-seed-{self.seed}.json"


def run_study(study: FewShotStudy, argv: Sequence[str], console: Console | None = None) -> FewShotResults:
    """Run what is not done yet, compare, and write the report.

    Args:
        study: what is compared.
        argv: ``seeds=5``, ``arms=coop,plot`` (these and the reference; default: all methods), and overrides.
        console: where progress goes.

    Raises:
        ConfigError: for a mistake in the arguments, before anything starts.
        DataError: for data that is missing, malformed, or has too few images of a class.
    """
    console = console or Console()
    options, overrides = split_options(argv, ["seeds"])
    wanted, seeds = options.get("arms", tuple(METHODS)), range(options.get("seeds", study.seeds))
    for name in wanted:
        if name not in METHODS:
            raise ConfigError(f"arms={name}: no such method; known: {', '.join(METHODS)}")
    methods = [name for name in METHODS if name in (*wanted, study.reference)]
    config = parse(study.base, overrides, check)
    folder, most = run_dir(config), config.shots[-1]
    console.print(f"[bold]{config.name}[/bold]  {folder}", soft_wrap=True)
    with claim(folder), bars_wanted(config.trainer.progress):
        write_identity(config, folder)
        corpus = build_corpus(config.data)
        write_data_identity(folder, {"fingerprint": corpus.fingerprint(), "weights": None}, config.run.force)
        task = make_task(corpus, config.data.seed)
        classified = {m: {k: [Cell("all_classes", m, k, s) for s in seeds] for k in config.shots} for m in methods}
        generalized = {m: [Cell("base_to_new", m, most, s) for s in seeds] for m in methods}
        cells = [cell for by_shots in classified.values() for row in by_shots.values() for cell in row]
        cells += [cell for row in generalized.values() for cell in row]
        _fill(cells, config, corpus, task, folder, console)
        results = FewShotResults(
            task.names, task.base, task.images["test"], study.reference, config.shots,
            {m: {k: [read_json(cell.file(folder)) for cell in row] for k, row in by_shots.items()}
             for m, by_shots in classified.items()},
            {m: [read_json(cell.file(folder)) for cell in row] for m, row in generalized.items()},
        )  # fmt: skip
        report = write_report(folder, study.title, config, results)
    console.print(*tables(results), sep="\n")
    console.print(f"report: {report}", soft_wrap=True)
    return results


def _fill(
    cells: Sequence[Cell], config: FewShotConfig, corpus: Corpus, task: Task, folder: Path, console: Console
) -> None:
    """Compute the cells that have no file yet, seed by seed."""
    left: dict[int, list[Cell]] = {}
    for cell in cells:
        if not cell.file(folder).exists():
            left.setdefault(cell.seed, []).append(cell)
    if not left:
        return
    for seed in left:  # refuse too few images before anything expensive
        draw(task, "shots", config.shots[-1], seed)
        draw(task, "val", min(config.shots[-1], config.max_validation), seed)
    torch.set_num_threads(config.trainer.threads)
    protocol = _prepare(config, corpus, task, folder, console)
    for seed, mine in left.items():
        start = time.perf_counter()
        for cell in track(mine, f"seed {seed}"):
            file = cell.file(folder)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, getattr(protocol, cell.setting)(cell.method, cell.shots, seed))
        console.print(f"seed {seed}: {len(mine)} fits in {time.perf_counter() - start:.0f} s")


def _prepare(config: FewShotConfig, corpus: Corpus, task: Task, folder: Path, console: Console) -> Protocol:
    """Load or train the encoder, and encode the images of the task."""
    if config.descriptions:
        texts = read_descriptions(Path(config.descriptions), task.names)
    else:
        texts = task.texts(config.num_descriptions)
    encoder = _encoder(config, corpus, texts, folder, console)
    load = ImageCache(corpus, encoder.image_size)
    sets = {}
    for part, images in task.images.items():
        shown = [load(image.image) for image in images]
        labels, groups = [image.label for image in images], [image.group for image in images]
        sets[part] = encode_set(encoder, shown, labels, groups, config.views, config.seed)
    return Protocol(task, encoder, texts, sets, config.budget, config.max_validation)


def _encoder(config: FewShotConfig, corpus: Corpus, texts: ClassTexts, folder: Path, console: Console) -> DualEncoder:
    """The encoder of the configuration, or the tiny CLIP of the folder, which is trained where it is missing."""
    device = device_of(config.trainer)
    if config.encoder:
        return load_dual_encoder(config.encoder).to(device)
    file = folder / "encoder"
    if not file.exists():
        start = time.perf_counter()
        loss = pretrain(corpus, texts, config.pretrain_steps, config.seed, file, device)
        console.print(f"tiny CLIP: {config.pretrain_steps} steps in {time.perf_counter() - start:.0f} s, "
                      f"loss {loss:.2f}")  # fmt: skip
    return load_dual_encoder(str(file)).to(device)
