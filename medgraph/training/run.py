"""A whole run: data, model, three stages, answers, scores, report; resumable at every point.

Run directory: ``config.yaml environment.json data.json tokenizer/ metrics.jsonl metrics.csv compute.json stage*/
tensorboard/ predictions.jsonl validation.jsonl candidates.json results.json samples.json samples/ failures.json
failures/ tables/ report.html failures.html``. On several ranks all compute, and rank 0 writes and prints.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from medgraph.alignment.head import AlignmentHead
from medgraph.config import ExperimentConfig, run_dir, to_dict
from medgraph.data.records import Corpus
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.results import Results
from medgraph.files import write_json
from medgraph.progress import bars_wanted
from medgraph.training.board import write_hyperparameters
from medgraph.training.estimate import estimate_prepared
from medgraph.training.evaluate import evaluate, reported_questions
from medgraph.training.interrupts import Interrupts
from medgraph.training.logging import quiet, write_csv
from medgraph.training.predict import write_samples
from medgraph.training.prepare import Prepared, complete, prepare
from medgraph.training.ranks import device_of, is_main, start, together, told_once
from medgraph.training.rundir import claim, write_data_identity, write_identity
from medgraph.training.stages import train_stages


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
        config: the study; left open values are filled in by the model preset's recipe. For several devices, the script
            that makes this call runs once for each.
        alignment: a head of your own instead of ``config.alignment``; its options become part of the configuration.
        corpus: data of your own instead of ``config.data``.
        reference: JSON file with committed results that the report shows beside this run's, if it exists.
        console: where progress goes; default standard output.

    Raises:
        ConfigError: if the run directory belongs to another configuration or is in use.
        ValueError: for data or options that do not fit, naming them.
    """
    quiet()
    config = complete(config, alignment)
    start(config.trainer)
    console = (console or Console()) if is_main() else Console(quiet=True)
    folder = run_dir(config)
    torch.set_num_threads(config.trainer.threads)
    with ExitStack() as held:
        interrupts = held.enter_context(Interrupts())
        held.enter_context(bars_wanted(config.trainer.progress and is_main()))
        with together():
            if is_main():
                held.enter_context(claim(folder))
                write_identity(config, folder)
        with together():
            study = prepare(config, alignment, corpus)
            if is_main():
                write_data_identity(folder, study.facts, config.run.force)
                study.vlm.tokenizer.save_pretrained(folder / "tokenizer")
        _introduce(study, folder, console)
        with together():
            _estimate(study, console)
        with told_once():
            train_stages(study.config, study.vlm, study.head, study.stages, folder, console, interrupts)
        clock = time.perf_counter()
        predictions, results = evaluate(
            study.config, study.vlm, study.corpus, study.tokens, study.images, folder, device_of(config.trainer)
        )
        console.print(f"answered and scored {len(predictions)} questions in {time.perf_counter() - clock:.0f} s")
        with together():
            if is_main():
                _write_pages(study, predictions, results, folder, reference, console)
    return Outcome(folder, results)


def _introduce(study: Prepared, folder: Path, console: Console) -> None:
    splits = study.corpus.splits.items()
    sizes = ", ".join(f"{name} {len({r.image_id for r in rs})}" for name, rs in splits)
    fingerprint = study.facts["fingerprint"]
    console.print(f"[bold]{study.config.name}[/bold]  {folder}\nimages: {sizes}; data {fingerprint}")
    if not study.leaks.clean:
        console.print(f"[bold red]{study.leaks.verdict()}[/]", soft_wrap=True)
    for remark in study.remarks:
        console.print(f"[bold red]{remark}[/]", soft_wrap=True)


def _estimate(study: Prepared, console: Console) -> None:
    """Say what the run will need; refuse it where that is not there."""
    from medgraph.report.estimate import render_estimate

    needed, warnings = estimate_prepared(study)
    console.print(render_estimate(needed))
    for warning in warnings:
        console.print(f"[bold red]{warning}[/]", soft_wrap=True)


def _write_pages(
    study: Prepared, predictions: list[Prediction], results: Results, folder: Path, reference: Path | None,
    console: Console,
) -> None:  # fmt: skip
    """Everything to look at: samples, failures, tables, hyper-parameters beside results, the report."""
    from medgraph.report.failures import save_failures
    from medgraph.report.run import write_report
    from medgraph.report.terminal import terminal_table

    asked = reported_questions(study.config, study.corpus)
    write_samples(predictions, asked, study.images, folder)
    save_failures(predictions, asked, study.images, folder)
    write_csv(folder / "metrics.jsonl", folder / "metrics.csv")
    rows = {split: results.get(split).overall for split in results.splits}
    figures = {split: Estimate(row.accuracy, row.interval.low, row.interval.high) for split, row in rows.items()}
    write_hyperparameters(folder, to_dict(study.config), figures)
    report = write_report(folder, references=_comparable(reference, folder, study.facts))
    console.print(terminal_table(results))
    console.print(f"report: {report}")


def _comparable(reference: Path | None, folder: Path, facts: dict[str, Any]) -> Path | None:
    """The committed results that were measured on the same test records with the same packaged weights, as a file."""
    if reference is None or not reference.exists():
        return None
    rows = json.loads(reference.read_text(encoding="utf-8"))
    kept = [row for row in rows if row.pop("weights") == facts["weights"] and row.pop("tests") == facts["tests"]]
    if not kept:
        return None
    write_json(folder / "reference.json", kept)
    return folder / "reference.json"
