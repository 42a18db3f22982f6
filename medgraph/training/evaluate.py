"""What a run does after training: answers, controls, scores.

Leaves ``predictions.jsonl`` (the tests and their controls), ``validation.jsonl`` (for the temperature),
``rotations.jsonl`` and ``corruptions.jsonl`` where the configuration asks for them, ``candidates.json`` (what training
answered, for protocols and the gaming check) and ``results.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from medgraph.config import ExperimentConfig
from medgraph.data.collate import Tokens
from medgraph.data.loading import ImageCache
from medgraph.data.records import Corpus, Record, take_questions
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.results import Results, summarise
from medgraph.evaluation.score_cli import CANDIDATES
from medgraph.files import write_json
from medgraph.models.medvlm import MedVLM
from medgraph.training.predict import add_controls, predict
from medgraph.training.ranks import is_main, share, together
from medgraph.training.views import corrupted_views, plain_views, rotated_views

VALIDATION = 500
"""Choice and closed questions of ``val`` that the temperature is fitted on, at most."""


def evaluate(
    config: ExperimentConfig,
    vlm: MedVLM,
    corpus: Corpus,
    tokens: Tokens,
    images: ImageCache,
    folder: Path,
    device: torch.device,
) -> tuple[list[Prediction], Results]:
    """Answer and score the splits of ``config.eval`` with everything that stands beside a result; resumable.

    Args:
        config: of the run.
        vlm: the trained model.
        corpus: all splits.
        tokens: tokenizer and sizes of the model.
        images: image cache.
        folder: of the run.
        device: where to compute.

    Returns:
        The content of ``predictions.jsonl`` (on ranks above 0, nothing) and the results.
    """
    options = config.eval
    splits = reported_questions(config, corpus)
    ask = partial(
        predict, vlm, tokens=tokens, batch_size=options.batch_size, max_new_tokens=options.max_new_tokens,
        likelihood=options.likelihood, device=device,
    )  # fmt: skip
    predictions = ask(plain_views(splits, images, options.controls, config.seed), path=folder / "predictions.jsonl")
    validation: list[Prediction] = []
    if options.likelihood and "val" not in splits:  # a temperature is never fitted on what is reported
        asked = take_questions([r for r in corpus.splits["val"] if r.answer_type != "open"], VALIDATION)
        validation = ask(plain_views({"val": asked}, images, controls=False), path=folder / "validation.jsonl")
    rotated = ask(rotated_views(splits, images), path=folder / "rotations.jsonl") if options.circular else []
    corrupted: list[Prediction] = []
    if options.corruptions:
        views = corrupted_views(splits, images, options.corruptions, config.seed)
        corrupted = ask(views, path=folder / "corruptions.jsonl")
    results: Results | None = None
    with together():
        if is_main():
            trained_on = {record.id: record for split in ("train", "task") for record in corpus.splits[split]}.values()
            if options.controls and trained_on:
                predictions = add_controls(folder / "predictions.jsonl", trained_on)
            candidates = sorted({record.answer for record in trained_on if record.answer_type == "open"})
            write_json(folder / CANDIDATES, candidates)
            results = summarise(
                predictions, seed=config.seed, validation=validation, rotated=rotated, corrupted=corrupted,
                candidates=candidates,
            )  # fmt: skip
            results.save(folder / "results.json")
    results = share(results)
    assert results is not None
    return predictions, results


def reported_questions(config: ExperimentConfig, corpus: Corpus) -> Mapping[str, Sequence[Record]]:
    """The questions a run is tested on, by split."""
    wanted = [name for name in config.eval.splits if corpus.splits.get(name)]
    return {name: take_questions(corpus.splits[name], config.eval.limit) for name in wanted}
