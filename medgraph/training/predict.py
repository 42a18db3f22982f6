"""Answering questions: generation writes ``predictions.jsonl``, and only that is ever scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image as PILImage
from rich.progress import Progress

from medgraph.data.collate import Tokens
from medgraph.data.conversation import prompt
from medgraph.data.datamodule import question_loader
from medgraph.data.loading import ImageCache
from medgraph.data.records import Record
from medgraph.evaluation.controls import TrainingQuestion, model_free_controls
from medgraph.evaluation.predictions import Prediction, PredictionWriter, read_predictions
from medgraph.evaluation.scoring import strict_score
from medgraph.models.medvlm import MedVLM


def predict(
    vlm: MedVLM,
    splits: Mapping[str, Sequence[Record]],
    tokens: Tokens,
    images: ImageCache,
    path: Path,
    *,
    batch_size: int,
    max_new_tokens: int,
    controls: bool,
    device: torch.device,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Answer every question of the splits, with the image and, as a control, without it.

    Resumable: questions already in the file are not asked again.

    Args:
        vlm: the model.
        splits: records by split name.
        tokens: tokenizer and sizes of the model.
        images: image loader.
        path: the ``predictions.jsonl`` to write.
        batch_size: questions a batch.
        max_new_tokens: longest answer.
        controls: also ask without the image (control ``no_image``).
        device: where to compute.
        progress: a started progress display.

    Returns:
        All predictions of the file.
    """
    vlm = vlm.to(device).eval()
    with PredictionWriter(path) as writer:
        for split, records in splits.items():
            for control in ("none", "no_image") if controls else ("none",):
                todo = [record for record in records if (record.id, split, control) not in writer.done]
                if not todo:
                    continue
                task = (
                    progress.add_task(f"{split} {'' if control == 'none' else control}", total=len(todo))
                    if progress
                    else None
                )
                loader = question_loader(todo, images if control == "none" else None, tokens, batch_size)
                for batch in loader:
                    answers = vlm.generate(batch.to(device), max_new_tokens)
                    writer.write(
                        [_prediction(r, a, split, control) for r, a in zip(batch.records, answers, strict=True)]
                    )
                    if progress and task is not None:
                        progress.advance(task, len(answers))
    return read_predictions(path)


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


def _prediction(record: Record, answer: str, split: str, control: str) -> Prediction:
    return Prediction(
        id=record.id,
        image_id=record.image_id,
        split=split,
        control=control,
        subset=record.subset,
        triplet=str(record.triplet),
        question_type=record.question_type,
        answer_type=record.answer_type,
        options=record.options,
        prompt=prompt(record, image=control == "none"),
        answer=record.answer,
        prediction=answer,
        score=strict_score(record.answer, answer, record.answer_type, record.options),
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
