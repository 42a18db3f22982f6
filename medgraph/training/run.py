"""A whole run: data, model, three stages, answers, scores, report; resumable at every point.

Run directory: ``config.yaml environment.json data.json tokenizer/ metrics.jsonl metrics.csv compute.json stage*/
tensorboard/ predictions.jsonl validation.jsonl candidates.json results.json samples.json samples/ failures.json
failures/ tables/ report.html failures.html``.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medgraph.alignment.head import AlignmentHead
from medgraph.alignment.options import make_head
from medgraph.config import STAGES, ConfigError, ExperimentConfig, run_dir, validate
from medgraph.config.validation import check_queue
from medgraph.data import build_corpus
from medgraph.data.audit import audit
from medgraph.data.cache import cache_folder, cache_images
from medgraph.data.collate import Tokens
from medgraph.data.conversation import prompt, reply
from medgraph.data.images import image_root
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus
from medgraph.evaluation.results import Results
from medgraph.models.blocks import prepare_blocks
from medgraph.models.build import assets_hash, build_model
from medgraph.models.tokenizer import count_words
from medgraph.training.evaluate import evaluate, reported_questions
from medgraph.training.interrupts import Interrupts
from medgraph.training.logging import quiet, write_csv
from medgraph.training.predict import write_samples
from medgraph.training.recipes import resolve
from medgraph.training.rundir import claim, write_data_identity, write_identity, write_json
from medgraph.training.stages import plan_stages, precision, train_stages

TESTS = ("test", "ood")
"""Splits whose records other runs must share to be compared."""
ANSWER_TOKENS = 16
"""Room for an answer where `eval.max_new_tokens` leaves it open and no true answer is longer."""


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
    from medgraph.report.failures import save_failures
    from medgraph.report.run import write_report
    from medgraph.report.terminal import terminal_table

    quiet()
    console = console or Console()
    validate(config)
    config = resolve(config)
    check_queue(config, alignment if alignment is not None else make_head(config.alignment))
    if alignment is not None:
        if not any(getattr(config, name).alpha for name in STAGES):
            raise ConfigError("alignment: the head has no effect while every alpha is 0; set stage2.alpha=1")
        config = dataclasses.replace(config, alignment=_describe(alignment))
    config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, precision=precision(config)))
    folder = run_dir(config)
    torch.set_num_threads(config.trainer.threads)
    with claim(folder), Interrupts() as interrupts:
        write_identity(config, folder)
        L.seed_everything(config.seed, workers=True, verbose=False)
        corpus = corpus or build_corpus(config.data)
        leaks = audit(corpus, image_root(corpus.load_image), near=False)
        vlm = build_model(config.model, corpus_texts(corpus))
        prepare_blocks(vlm, config.trainer.checkpointing, config.trainer.compile)
        tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, config.model.max_length)
        if config.data.cache:
            corpus = cache_images(corpus, vlm.vision.image_size, cache_folder(config.data.cache))
        images = ImageCache(corpus, vlm.vision.image_size)
        torch.manual_seed(config.seed)  # whatever building the model has drawn
        head = copy.deepcopy(alignment) if alignment is not None else build_head(config.alignment)
        if head is not None:
            head.setup(vlm.width)
            if head.wants_words:
                words = vlm.words
                head.set_words(words, count_words(vlm.tokenizer, corpus_texts(corpus), len(words)))
        stages = plan_stages(config, corpus, tokens, images, aligned=head is not None)
        facts = {
            "fingerprint": corpus.fingerprint(),
            "weights": assets_hash(config.model),
            "records": {name: len(records) for name, records in corpus.splits.items()},
            "tests": Corpus({name: corpus.splits.get(name, ()) for name in TESTS}, corpus.load_image).fingerprint(),
            "validation": len(stages["stage2"].data.validation),
            "notes": {**corpus.notes, **leaks.notes()},
            "leaks": leaks.verdict(),
        }
        write_data_identity(folder, facts)
        sizes = ", ".join(f"{name} {len({r.image_id for r in rs})}" for name, rs in corpus.splits.items())
        console.print(f"[bold]{config.name}[/bold]  {folder}\nimages: {sizes}; data {facts['fingerprint']}")
        if not leaks.clean:
            console.print(f"[bold red]{leaks.verdict()}[/]", soft_wrap=True)
        longest = answer_tokens(corpus, config.eval.splits, tokens, config.eval.max_new_tokens)
        config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, max_new_tokens=longest))
        vlm.tokenizer.save_pretrained(folder / "tokenizer")
        train_stages(config, vlm, head, stages, folder, console, interrupts)

        start = time.perf_counter()
        with progress_bars(console, config.trainer.progress) as progress:
            predictions, results = evaluate(config, vlm, corpus, tokens, images, folder, _device(config), progress)
        console.print(f"answered and scored {len(predictions)} questions in {time.perf_counter() - start:.0f} s")
        asked = reported_questions(config, corpus)
        write_samples(predictions, asked, images, folder)
        save_failures(predictions, asked, images, folder)
        write_csv(folder / "metrics.jsonl", folder / "metrics.csv")
        report = write_report(folder, references=_comparable(reference, folder, facts))
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


def _describe(head: AlignmentHead) -> dict[str, Any]:
    """Name, options and, for code outside MedGraph, a hash of the source: what makes a head's results its own."""
    cls = type(head)
    described = {"name": f"{cls.__module__}.{cls.__qualname__}", **head.options()}
    if not cls.__module__.startswith("medgraph."):
        # of the methods, not the class: a class made in a notebook cell has no source that can be found
        methods = [method for method in vars(cls).values() if inspect.isfunction(method)]
        source = "".join(map(inspect.getsource, methods))
        described["source"] = hashlib.sha256(source.encode()).hexdigest()[:8]
    return described


def corpus_texts(corpus: Corpus) -> Iterator[str]:
    """Every text the model will see in training, as it will see it."""
    for split in ("train", "task"):
        for record in corpus.splits[split]:
            yield f"{prompt(record, image=False)} {reply(record)}"
            yield record.extended


def _device(config: ExperimentConfig) -> torch.device:
    gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


# --------------------------------------------------------------------------------------------------------------------
# evaluation


def answer_tokens(corpus: Corpus, splits: Sequence[str], tokens: Tokens, max_new_tokens: int) -> int:
    """How long answers may become; a limit that cuts true answers off is refused: no model could be right."""
    end = tokens.tokenizer.eos_token
    answers = {reply(record): record.id for name in splits for record in corpus.splits.get(name, ())}
    lengths = [len(tokens.tokenizer(f" {answer}{end}", add_special_tokens=False)["input_ids"]) for answer in answers]
    longest, record = max(zip(lengths, answers.values(), strict=True), default=(0, ""))
    if 0 < max_new_tokens < longest:
        raise ConfigError(f"eval.max_new_tokens={max_new_tokens}: the answer of record {record} has {longest} "
                          f"tokens; set eval.max_new_tokens={longest} or more")  # fmt: skip
    return max_new_tokens or max(ANSWER_TOKENS, longest)


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


@contextmanager
def progress_bars(console: Console, wanted: bool) -> Iterator[Progress | None]:
    """A started progress display; None where it is not wanted or there is no terminal."""
    if not (wanted and console.is_terminal):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield progress
