"""Answering questions: generation writes ``predictions.jsonl``, and only that is ever scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage

from medgraph.data.collate import QuestionBatch, Tokens
from medgraph.data.conversation import encode_reply, letters, prompt
from medgraph.data.datamodule import question_loader
from medgraph.data.loading import ImageCache, rank_and_ranks
from medgraph.data.records import Record
from medgraph.evaluation.controls import TrainingQuestion, model_free_controls
from medgraph.evaluation.parsing import normalise
from medgraph.evaluation.predictions import YES_NO, Key, Prediction, PredictionWriter, read_predictions
from medgraph.evaluation.scoring import strict_score
from medgraph.models.medvlm import MedVLM
from medgraph.progress import bar
from medgraph.training.ranks import gather, share
from medgraph.training.views import View


def predict(
    vlm: MedVLM,
    views: Iterable[View],
    tokens: Tokens,
    path: Path,
    *,
    batch_size: int,
    max_new_tokens: int,
    likelihood: bool,
    device: torch.device,
) -> list[Prediction]:
    """Answer every question of the views.

    Resumable: questions already in the file are not asked again, unless in a batch that a kill has cut off: what stands
    beside a question in its batch may show in the last digits. Several ranks share the batches of a single process;
    rank 0 writes the answers in its order.

    Args:
        vlm: the model.
        views: questions as they are to be asked.
        tokens: tokenizer and sizes of the model.
        path: the ``predictions.jsonl`` to write.
        batch_size: questions a batch.
        max_new_tokens: longest answer.
        likelihood: also score the allowed answers of choice and closed questions.
        device: where to compute.

    Returns:
        All predictions of the file; none on ranks above 0.
    """
    vlm = vlm.to(device).eval()
    rank, ranks = rank_and_ranks()
    with PredictionWriter(path) if rank == 0 else nullcontext() as writer:
        done = share(writer.done if writer else set[Key]())
        for view in views:
            keys = [(record.id, view.split, view.control) for record in view.records]
            starts = range(0, len(keys), batch_size)
            left = [slice(i, i + batch_size) for i in starts if not done.issuperset(keys[i : i + batch_size])]
            if not left:
                continue
            mine = [record for batch in left[rank::ranks] for record in view.records[batch]]
            batches = iter(question_loader(mine, view.images, tokens, batch_size))
            name = f"answering {view.split}{'' if view.control == 'none' else f', {view.control}'}"
            with bar(name, sum(len(keys[batch]) for batch in left)) as advance:
                for _ in range(0, len(left), ranks):
                    answered: list[Prediction] = []
                    if (batch := next(batches, None)) is not None:
                        on_device = batch.to(device)
                        answers = vlm.generate(on_device, max_new_tokens)
                        logprobs = reply_logprobs(vlm, on_device) if likelihood else [{}] * len(answers)
                        rows = zip(batch.records, answers, logprobs, strict=True)
                        answered = [_prediction(record, answer, view, scores) for record, answer, scores in rows]
                    everyone = [prediction for part in gather(answered) for prediction in part]
                    if writer:
                        writer.write([prediction for prediction in everyone if prediction.key not in writer.done])
                    advance(len(everyone))
    return read_predictions(path) if rank == 0 else []


def reply_logprobs(vlm: MedVLM, batch: QuestionBatch) -> list[dict[str, tuple[float, ...]]]:
    """Log-likelihoods of the allowed answers of each question, as fields of `Prediction`; none for open questions."""
    replies = [_replies(vlm.tokenizer, record) for record in batch.records]
    rows = [row for row, mine in enumerate(replies) if mine]
    fields: list[dict[str, tuple[float, ...]]] = [{} for _ in replies]
    if not rows:
        return fields
    scores = vlm.reply_logprobs(batch.take(rows), [replies[row] for row in rows])
    for row, values in zip(rows, scores, strict=True):
        record = batch.records[row]
        rounded = tuple(round(value, 4) for value in values)  # what depends on the batch is behind that
        shown = len(record.options) or len(rounded)
        fields[row] = {"logprobs": rounded[:shown], "text_logprobs": rounded[shown:]}
    return fields


def _replies(tokenizer: Any, record: Record) -> list[list[int]]:
    """Token ids of the letters and then the whole texts of options, or of yes and no as the data set writes them."""
    if record.answer_type == "choice":
        letter_ids = [encode_reply(tokenizer, letter) for letter in letters(record)]
        return letter_ids + [encode_reply(tokenizer, option, end=True) for option in record.options]
    if record.options:
        return [encode_reply(tokenizer, option, end=True) for option in record.options]
    if record.answer_type == "closed" and normalise(record.answer) in YES_NO:
        words = (word.capitalize() for word in YES_NO) if record.answer[0].isupper() else YES_NO
        return [encode_reply(tokenizer, word) for word in words]
    return []


def add_controls(path: Path, train: Iterable[Record]) -> list[Prediction]:
    """Append what needs no model (majority answer, nearest training question, always yes) to the predictions.

    Args:
        path: a complete ``predictions.jsonl``.
        train: the records the model was trained on.

    Returns:
        All predictions of the file.
    """
    questions = [TrainingQuestion(r.question, r.answer, r.question_type, r.answer_type) for r in train]
    with PredictionWriter(path) as writer:
        controls = model_free_controls(questions, read_predictions(path))
        writer.write([control for control in controls if control.key not in writer.done])
    return read_predictions(path)


def _prediction(record: Record, answer: str, view: View, logprobs: dict[str, tuple[float, ...]]) -> Prediction:
    return Prediction(
        id=record.id,
        image_id=record.image_id,
        split=view.split,
        control=view.control,
        subset=record.subset,
        triplet=str(record.triplet),
        question_type=record.question_type,
        answer_type=record.answer_type,
        options=record.options,
        prompt=prompt(record, image=view.images is not None),
        answer=record.answer,
        prediction=answer,
        score=strict_score(record.answer, answer, record.answer_type, record.options),
        **logprobs,
    )


def write_samples(
    predictions: Sequence[Prediction],
    splits: Mapping[str, Sequence[Record]],
    images: ImageCache,
    folder: Path,
    per_split: int = 6,
) -> None:
    """Save the first images of each split with question, truth and answer for the report.

    Writes ``samples.json`` and ``samples/*.png`` into the folder; one question an image, so that they differ.
    """
    target = folder / "samples"
    target.mkdir(exist_ok=True)
    samples = []
    for split, records in splits.items():
        paths = {record.id: record.image for record in records}
        chosen: dict[str, Prediction] = {}
        for prediction in predictions:
            if prediction.split == split and prediction.control == "none" and len(chosen) < per_split:
                chosen.setdefault(prediction.image_id, prediction)
        for number, prediction in enumerate(chosen.values()):
            file = target / f"{split}-{number}.png"
            PILImage.fromarray(images(paths[prediction.id])).save(file)
            samples.append(
                {
                    "image": f"samples/{file.name}",
                    "split": split,
                    "question": prediction.prompt.partition("\n")[2].removesuffix(" ASSISTANT:"),
                    "answer": prediction.answer,
                    "prediction": prediction.prediction,
                    "correct": prediction.score == 1,
                }
            )
    (folder / "samples.json").write_text(json.dumps(samples, indent=1), encoding="utf-8")
