"""Wrong answers with their images: chosen and saved at the end of a run, shown on a page that can be filtered.

The run folder keeps ``failures.json`` (question id, split, image file) and ``failures/*.jpg``; texts come from
``predictions.jsonl``, so the page can be written again without the data.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from medgraph.data.records import Image, MATTriplet, Record
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.results import NO_CONTROL
from medgraph.report.inputs import data_uri
from medgraph.report.page import write_page
from medgraph.report.words import split_name

LIMIT = 120
"""Wrong answers that a run keeps with their images."""
SIDE = 160
"""Largest side length of the kept images in pixels."""

INDEX = "failures.json"
PAGE = "failures.html"


@dataclass(frozen=True, slots=True)
class Failure:
    """A wrong answer as the page shows it.

    Attributes:
        image: data URI; "" where the image was not kept.
        question: without the frame of the conversation.
        answer: the truth.
        prediction: what the model wrote.
        confidence: probability it gave to its most likely allowed answer; None where it gave none.
        facts: what the page can be filtered by, name to value.
    """

    image: str
    question: str
    answer: str
    prediction: str
    confidence: float | None
    facts: Mapping[str, str]


def choose_failures(predictions: Sequence[Prediction], limit: int = LIMIT) -> list[Prediction]:
    """Wrong answers of the model, the most confident first, from all splits and question types in turn.

    Args:
        predictions: of any splits and controls.
        limit: how many, at most.
    """
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for p in predictions:
        if p.control == NO_CONTROL and p.score < 1:
            groups[p.split, p.question_type].append(p)
    ranked = [sorted(group, key=_doubt) for group in groups.values()]
    in_turn = [p for p in chain.from_iterable(zip_longest(*ranked)) if p is not None]
    return sorted(in_turn[:limit], key=_doubt)


def confidence(prediction: Prediction) -> float | None:
    """Probability of the most likely allowed answer; None where the model gave no log-likelihoods."""
    if not prediction.logprobs:
        return None
    scores = np.array(prediction.logprobs)
    return float(1 / np.exp(scores - scores.max()).sum())


def save_failures(
    predictions: Sequence[Prediction],
    splits: Mapping[str, Sequence[Record]],
    images: Callable[[str], Image],
    folder: Path,
) -> None:
    """Write ``failures.json`` and ``failures/*.jpg`` into a run folder.

    Args:
        predictions: all of the run.
        splits: the records that were asked, by split.
        images: loads what the model saw.
        folder: of the run.
    """
    target = folder / "failures"
    target.mkdir(exist_ok=True)
    paths = {(split, record.id): record.image for split, records in splits.items() for record in records}
    index = []
    for number, failure in enumerate(choose_failures(predictions)):
        file = target / f"{number:03d}.jpg"
        shown = PILImage.fromarray(images(paths[failure.split, failure.id]))
        shown.thumbnail((SIDE, SIDE))
        shown.save(file, quality=85)
        index.append({"id": failure.id, "split": failure.split, "image": f"{target.name}/{file.name}"})
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def write_failures_page(folder: Path, name: str, predictions: Sequence[Prediction]) -> int:
    """Write ``failures.html`` of a run folder, with the images that `save_failures` kept.

    Args:
        folder: of the run.
        name: of the run.
        predictions: all of the run.

    Returns:
        The number of wrong answers; no page is written for 0.
    """
    wrong = sum(p.control == NO_CONTROL and p.score < 1 for p in predictions)
    if not wrong:
        return 0
    index = folder / INDEX
    kept = json.loads(index.read_text(encoding="utf-8")) if index.exists() else []
    images = {(entry["split"], entry["id"]): folder / entry["image"] for entry in kept}
    failures = [_failure(p, images.get((p.split, p.id))) for p in choose_failures(predictions)]
    names = list(failures[0].facts)
    write_page(
        folder / PAGE,
        "failures.html.j2",
        f"{name}: wrong answers",
        {
            "kicker": "MedGraph · wrong answers",
            "facts": [f"{len(failures):,} of {wrong:,} wrong answers"],
            "contents": (("failures", "Wrong answers"), ("reading", "How they were chosen")),
            "failures": failures,
            "filters": {fact: sorted({failure.facts[fact] for failure in failures}) for fact in names},
            "wrong": wrong,
            "pictured": any(failure.image for failure in failures),
        },
    )
    return wrong


def _doubt(prediction: Prediction) -> float:
    """Rank: the most confident first, those without a confidence last."""
    known = confidence(prediction)
    return 1.0 if known is None else -known


def _failure(p: Prediction, image: Path | None) -> Failure:
    facts = {
        "split": split_name(p.split),
        "data set": p.subset,
        "modality": MATTriplet.parse(p.triplet).modality,
        "question type": p.question_type,
        "answer type": p.answer_type,
    }
    return Failure(
        image=data_uri(image) if image is not None and image.exists() else "",
        question=p.prompt.partition("\n")[2].removesuffix(" ASSISTANT:") or p.prompt,
        answer=p.answer,
        prediction=p.prediction,
        confidence=confidence(p),
        facts=facts,
    )
