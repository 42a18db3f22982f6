"""What a run needs before it trains: a complete configuration, data, model, alignment head and stages."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch

from medgraph.alignment.head import AlignmentHead
from medgraph.alignment.options import make_head
from medgraph.config import STAGES, ConfigError, ExperimentConfig, validate
from medgraph.config.validation import check_queue
from medgraph.data import build_corpus
from medgraph.data.audit import AuditReport, audit
from medgraph.data.cache import cache_folder, cache_images
from medgraph.data.collate import Tokens
from medgraph.data.conversation import prompt, reply
from medgraph.data.images import image_root
from medgraph.data.loading import ImageCache, rank_and_ranks
from medgraph.data.records import Corpus
from medgraph.models.blocks import prepare_blocks
from medgraph.models.medvlm import MedVLM
from medgraph.models.tokenizer import count_words
from medgraph.training.ranks import count_devices
from medgraph.training.recipes import resolve
from medgraph.training.stages import Stage, plan_stages, precision
from medgraph.training.trained import starting_model

TESTS = ("test", "ood")
"""Splits whose records other runs must share to be compared."""
ANSWER_TOKENS = 16
"""Room for an answer where `eval.max_new_tokens` leaves it open and no true answer is longer."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run before its first step; the same on all ranks.

    Attributes:
        config: complete, with the room for answers.
        corpus: the data.
        leaks: what its splits share.
        vlm: the model, on the CPU.
        head: alignment head for the model's width, or None.
        tokens: tokenizer and sizes of the model.
        images: image cache.
        stages: by name.
        facts: for ``data.json``.
        remarks: what the configuration allows and hardly anybody wants.
    """

    config: ExperimentConfig
    corpus: Corpus
    leaks: AuditReport
    vlm: MedVLM
    head: AlignmentHead | None
    tokens: Tokens
    images: ImageCache
    stages: dict[str, Stage]
    facts: dict[str, Any]
    remarks: list[str]


def complete(config: ExperimentConfig, alignment: AlignmentHead | None = None) -> ExperimentConfig:
    """Check a configuration and fill in what it leaves open.

    Args:
        config: the study.
        alignment: a head of the caller's own, which then is described in the configuration.

    Raises:
        ConfigError: naming the key and the way out.
    """
    validate(config)
    config = resolve(config)
    check_queue(config, alignment if alignment is not None else make_head(config.alignment))
    if alignment is not None:
        if not any(getattr(config, name).alpha for name in STAGES):
            raise ConfigError("alignment: the head has no effect while every alpha is 0; set stage2.alpha=1")
        config = dataclasses.replace(config, alignment=_describe(alignment))
    options = config.trainer
    options = dataclasses.replace(options, precision=precision(options), devices=count_devices(options))
    return dataclasses.replace(config, trainer=options)


def prepare(config: ExperimentConfig, alignment: AlignmentHead | None, corpus: Corpus | None) -> Prepared:
    """Read the data, build the model and plan the stages.

    Args:
        config: complete.
        alignment: a head of the caller's own.
        corpus: data of the caller's own.

    Raises:
        ConfigError: for options that do not fit the data or the model.
        DataError: for data that is missing or malformed.
    """
    L.seed_everything(config.seed, workers=True, verbose=False)
    corpus = corpus or build_corpus(config.data)
    leaks = audit(corpus, image_root(corpus.load_image), near=False)
    vlm, weights = starting_model(config, corpus_texts(corpus))
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
    remarks = small_graphs(config, head, rank_and_ranks()[1])
    facts = {
        "fingerprint": corpus.fingerprint(),
        "weights": weights,
        "records": {name: len(records) for name, records in corpus.splits.items()},
        "tests": Corpus({name: corpus.splits.get(name, ()) for name in TESTS}, corpus.load_image).fingerprint(),
        "validation": len(stages["stage2"].data.validation),
        "notes": {**corpus.notes, **leaks.notes()},
        "remarks": remarks,
        "leaks": leaks.verdict(),
    }
    longest = answer_tokens(corpus, config.eval.splits, tokens, config.eval.max_new_tokens)
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, max_new_tokens=longest))
    return Prepared(config, corpus, leaks, vlm, head, tokens, images, stages, facts, remarks)


def small_graphs(config: ExperimentConfig, head: AlignmentHead | None, ranks: int) -> list[str]:
    """Where a head has fewer samples to compare than it is made for: batches of all ranks, but no accumulated ones."""
    remarks = []
    for name in STAGES if head is not None else ():
        stage = getattr(config, name)
        if not stage.alpha or 0 in (stage.steps, stage.epochs):
            continue
        nodes = stage.batch_size * ranks + stage.queue
        size, k = min(nodes, getattr(head, "graph_size", 0) or nodes), getattr(head, "k", 0)
        if nodes == 1:
            remarks.append(f"{name}.batch_size=1: heads compare the samples of a batch, and there is one (accumulated "
                           f"batches are not joined); raise it or add {name}.queue=64")  # fmt: skip
        elif k >= size:
            remarks.append(f"alignment.k={k}: in {name} graphs have {size} samples and so {size - 1} neighbours; raise "
                           f"{name}.batch_size or lower alignment.k")  # fmt: skip
    return remarks


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
    """Every text the model will see in training, as it will see it, and the vocabulary of the corpus."""
    for split in ("train", "task"):
        for record in corpus.splits[split]:
            yield f"{prompt(record, image=False)} {reply(record)}"
            yield record.extended
    yield from corpus.vocabulary


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
