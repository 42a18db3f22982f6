"""A whole run: data, model, three stages, answers, scores, report; resumable at every point.

Run directory: ``config.yaml environment.json data.json metrics.csv compute.json stage*/ tensorboard/ predictions.jsonl
results.json samples/ report.html``.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichModelSummary, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file

from medgraph.alignment.head import AlignmentHead
from medgraph.alignment.options import make_head
from medgraph.config import STAGES, ConfigError, ExperimentConfig, StageConfig, run_dir, to_yaml
from medgraph.data import build_corpus
from medgraph.data.collate import Tokens
from medgraph.data.conversation import prompt, reply
from medgraph.data.datamodule import VQADataModule
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus
from medgraph.evaluation.results import Results, summarise
from medgraph.models.build import build_model
from medgraph.models.medvlm import MedVLM
from medgraph.training.checkpoint import AtomicCheckpointIO, checkpoint_callback, newest_checkpoint
from medgraph.training.environment import environment
from medgraph.training.logging import MetricsLogger, Samples, Throughput, quiet, write_csv
from medgraph.training.module import StageModule, trained_state
from medgraph.training.predict import predict, write_samples
from medgraph.training.recipes import resolve

SPLIT = {"stage1": "train", "stage2": "train", "stage3": "task"}
"""What each stage trains on: instruction data twice, then the small task set."""
VALIDATIONS = 12
"""Validations in a whole run, spread over the steps."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves behind."""

    folder: Path
    results: Results


def run(
    config: ExperimentConfig,
    alignment: AlignmentHead | None = None,
    corpus: Corpus | None = None,
    reference: Path | None = None,
    console: Console | None = None,
) -> Outcome:
    """Train, answer, score and report; the same call continues an interrupted run.

    Args:
        config: the study; left open values are filled in by the model preset's recipe.
        alignment: a head of your own instead of ``config.alignment``; its options become part of the configuration.
        corpus: data of your own instead of ``config.data``.
        reference: JSON file with committed results that the report shows beside this run's, if it exists.
        console: where progress goes; default standard output.

    Raises:
        ConfigError: if the run directory belongs to another configuration or is in use.
        ValueError: for data or options that do not fit, naming them.
    """
    from medgraph.report.run import write_report
    from medgraph.report.terminal import terminal_table

    quiet()
    console = console or Console()
    config = resolve(config)
    if alignment is not None:
        name = f"{type(alignment).__module__}.{type(alignment).__qualname__}"
        config = dataclasses.replace(config, alignment={"name": name, **alignment.options()})
    folder = run_dir(config)
    torch.set_num_threads(config.trainer.threads)
    with _claim(folder):
        _write_identity(config, folder)
        L.seed_everything(config.seed, workers=True, verbose=False)
        corpus = corpus or build_corpus(config.data)
        _check_data(corpus, folder)
        sizes = ", ".join(f"{name} {len({r.image_id for r in rs})}" for name, rs in corpus.splits.items())
        console.print(f"[bold]{config.name}[/bold]  {folder}\nimages: {sizes}; data {corpus.fingerprint()}")

        vlm = build_model(config.model, corpus_texts(corpus))
        head = alignment or build_head(config.alignment)
        if head is not None:
            head.setup(vlm.width)
        tokens = Tokens(vlm.tokenizer, vlm.vision.num_tokens, config.model.max_length)
        images = ImageCache(corpus, vlm.vision.image_size)
        _train_stages(config, corpus, vlm, head, tokens, images, folder, console)

        splits = {
            name: list(corpus.splits[name])[: config.eval.limit] for name in ("test", "ood") if corpus.splits[name]
        }
        start = time.perf_counter()
        with _progress(console, config.trainer.progress) as progress:
            predictions = predict(
                vlm, splits, tokens, images, folder / "predictions.jsonl",
                batch_size=config.eval.batch_size, max_new_tokens=config.eval.max_new_tokens,
                controls=config.eval.controls, device=_device(config), progress=progress,
            )  # fmt: skip
        results = summarise(predictions, seed=config.seed)
        results.save(folder / "results.json")
        console.print(f"answered {len(predictions)} questions in {time.perf_counter() - start:.0f} s")
        write_samples(predictions, splits, images, folder)
        write_csv(folder / "metrics.jsonl", folder / "metrics.csv")
        report = write_report(folder, references=reference if reference and reference.exists() else None)
        console.print(terminal_table(results))
        console.print(f"report: {report}")
    return Outcome(folder, results)


def build_head(options: Any) -> AlignmentHead | None:
    """Build the configured alignment head; None for ``none``.

    Raises:
        ConfigError: for an option out of range, naming it.
    """
    if options.name == "none":
        return None
    try:
        return make_head(options)
    except ValueError as error:
        raise ConfigError(f"alignment={options.name}: {error}") from error


def corpus_texts(corpus: Corpus) -> Iterator[str]:
    """Every text the model will see in training, as it will see it."""
    for split in ("train", "task"):
        for record in corpus.splits[split]:
            yield f"{prompt(record, image=False)} {reply(record)}"
            yield record.extended


# --------------------------------------------------------------------------------------------------------------------
# stages


def _train_stages(
    config: ExperimentConfig,
    corpus: Corpus,
    vlm: MedVLM,
    head: AlignmentHead | None,
    tokens: Tokens,
    images: ImageCache,
    folder: Path,
    console: Console,
) -> None:
    stages: dict[str, StageConfig] = {name: getattr(config, name) for name in STAGES}
    data = {
        name: VQADataModule(
            corpus, SPLIT[name], tokens, images, stage.batch_size or 1, config.seed,
            views=("answer", "extended") if head is not None and stage.alpha > 0 else (),
            extended_lm=stage.extended_lm, num_workers=config.trainer.num_workers,
            eval_batch_size=config.eval.batch_size,
        )
        for name, stage in stages.items()
    }  # fmt: skip
    steps = {name: _steps(stage, len(data[name].dataset), config) for name, stage in stages.items()}
    parts: set[str] = set()
    offset = 0
    for name, stage in stages.items():
        if steps[name] == 0:
            continue
        parts |= set(stage.train or ())
        weights = folder / name / "weights.safetensors"
        if weights.exists():
            vlm.load_state_dict(load_file(weights), strict=False)
            console.print(f"{name}: finished before, weights loaded")
        else:
            start = time.perf_counter()
            module = StageModule(vlm, head, stage, steps[name], config.seed, config.eval.max_new_tokens)
            logger = MetricsLogger(folder / "metrics.jsonl", name, offset)
            weights.parent.mkdir(exist_ok=True)
            totals = _fit(module, data[name], logger, steps, config, folder / name, console)
            _save_compute(folder / "compute.json", name, {"steps": steps[name], **totals})
            _save_weights(vlm, parts, weights)
            for checkpoint in weights.parent.glob("step=*.ckpt"):  # only needed to resume inside the stage
                checkpoint.unlink()
            seconds = time.perf_counter() - start
            console.print(f"{name}: {steps[name]} steps on {len(data[name].dataset)} images in {seconds:.0f} s")
        offset += steps[name]


def _fit(
    module: StageModule,
    data: VQADataModule,
    logger: MetricsLogger,
    steps: dict[str, int],
    config: ExperimentConfig,
    folder: Path,
    console: Console,
) -> dict[str, float]:
    options, name = config.trainer, folder.name
    throughput = Throughput()
    progress = options.progress and console.is_terminal
    every = max(1, sum(steps.values()) // VALIDATIONS) * module.stage.accumulate
    trainer = _trainer(
        accelerator=options.accelerator, devices=options.devices, num_nodes=options.num_nodes,
        strategy=options.strategy, precision=precision(config), max_steps=module.steps, max_epochs=-1,
        accumulate_grad_batches=module.stage.accumulate, gradient_clip_val=module.stage.grad_clip or None,
        logger=[logger, TensorBoardLogger(str(folder.parent / "tensorboard"), name="", version=name)],
        log_every_n_steps=options.log_every, val_check_interval=every, check_val_every_n_epoch=None,
        num_sanity_val_steps=0, use_distributed_sampler=False, enable_progress_bar=progress,
        plugins=[AtomicCheckpointIO()], enable_model_summary=False, default_root_dir=str(folder),
        callbacks=[
            checkpoint_callback(folder, options.checkpoint_every), throughput, Samples(),
            *([RichProgressBar(refresh_rate=5, leave=True), RichModelSummary(max_depth=2)] if progress else []),
        ],
    )  # fmt: skip
    checkpoint = newest_checkpoint(folder)
    if checkpoint is not None:
        logger.forget_after(int(checkpoint.stem.partition("=")[2]))
        console.print(f"{name}: resuming from {checkpoint.name}")
    else:
        logger.forget_after(0)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SIGTERMException:
        raise
    except SystemExit as error:  # how Lightning ends after Ctrl-C, once the checkpoint is written
        raise KeyboardInterrupt from error
    return throughput.state_dict()


def _trainer(**options: Any) -> L.Trainer:
    """Build Lightning's trainer; what it refuses is a mistake in the configuration."""
    try:
        return L.Trainer(**options)
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error


def _steps(stage: StageConfig, images: int, config: ExperimentConfig) -> int:
    """Optimiser steps of a stage."""
    if stage.steps is not None:
        return stage.steps
    assert stage.epochs is not None
    assert stage.batch_size is not None
    devices = config.trainer.devices if isinstance(config.trainer.devices, int) else max(1, torch.cuda.device_count())
    batches = images // (stage.batch_size * devices * config.trainer.num_nodes)
    return round(stage.epochs * batches / stage.accumulate)


def precision(config: ExperimentConfig) -> Any:
    """Lightning's name of the precision: bf16-mixed where a GPU has it, unless the user says otherwise."""
    if config.trainer.precision != "auto":
        return config.trainer.precision
    gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"


def _device(config: ExperimentConfig) -> torch.device:
    gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def _save_compute(file: Path, stage: str, totals: dict[str, float]) -> None:
    """Add a stage's steps, seconds, images and tokens to ``compute.json``."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**known, stage: totals}, indent=1) + "\n", encoding="utf-8")


def _save_weights(vlm: MedVLM, parts: set[str], file: Path) -> None:
    part = file.with_suffix(".part")
    save_file(trained_state(vlm, parts), part)
    os.replace(part, file)


# --------------------------------------------------------------------------------------------------------------------
# the run directory


@contextmanager
def _claim(folder: Path) -> Iterator[None]:
    """Hold the directory's lock: two processes never write one run."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder} is in use by another process; wait for it or choose run.name=…") from error
        yield


def _write_identity(config: ExperimentConfig, folder: Path) -> None:
    """Save the configuration, or refuse to continue a run that had another one."""
    file, text = folder / "config.yaml", to_yaml(config)
    if file.exists() and (old := file.read_text(encoding="utf-8")) != text:
        changed = [line for line in text.splitlines() if line not in old.splitlines()]
        raise ConfigError(f"{folder} belongs to another configuration (now different: {'; '.join(changed)[:300]}); "
                          "choose another run.name or remove the folder")  # fmt: skip
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        (folder / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n", encoding="utf-8")


def _check_data(corpus: Corpus, folder: Path) -> None:
    file, found = folder / "data.json", corpus.fingerprint()
    if not file.exists():
        content = {
            "fingerprint": found,
            "records": {k: len(v) for k, v in corpus.splits.items()},
            "notes": dict(corpus.notes),
        }
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    elif (old := json.loads(file.read_text(encoding="utf-8"))["fingerprint"]) != found:
        raise ConfigError(
            f"{folder} was started on data {old}, the data now is {found}: restore it or choose run.name=…"
        )


@contextmanager
def _progress(console: Console, wanted: bool) -> Iterator[Progress | None]:
    if not (wanted and console.is_terminal):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield progress
