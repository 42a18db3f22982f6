"""Circular evaluation of a run: the same choice questions with their options in every order.

``results.json`` holds a list ``circular`` with one object a split and way to answer::

    {"split": "test", "answers": "generated" or "likelihood", "n": 300, "images": 100,
     "figures": {"accuracy": {"value", "low", "high"}, "circular": {…}, "consistent": {…}, "unparsed": {…}}}
"""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medgraph.evaluation.choice import circular_points
from medgraph.evaluation.estimate import Estimate, estimate_means
from medgraph.evaluation.likelihood import chosen_index
from medgraph.evaluation.predictions import Prediction


@dataclass(frozen=True, slots=True)
class CircularResult:
    """Choice questions of one split in all orders of their options.

    Attributes:
        split: ``test``, ``ood`` …
        answers: ``generated`` and parsed, or ``likelihood``: the letter with the highest score.
        n: questions asked in every order.
        images: distinct images.
        figures: ``accuracy`` in the given order, ``circular`` right in every order, ``consistent`` the same option in
            every order, ``unparsed`` share of answers that name no option.
    """

    split: str
    answers: str
    n: int
    images: int
    figures: Mapping[str, Estimate]


def circular_results(
    predictions: Iterable[Prediction], rotated: Sequence[Prediction], seed: int = 0, resamples: int = 1000
) -> tuple[CircularResult, ...]:
    """Score the questions that were asked in every order.

    Args:
        predictions: answers in the given order, of any splits and controls.
        rotated: answers in the other orders, control ``rotation_1`` and so on.
        seed: of the bootstrap.
        resamples: of the bootstrap over images.
    """
    turns = {(p.split, p.id, p.control): p for p in rotated}
    asked: dict[str, list[list[Prediction]]] = defaultdict(list)
    for p in predictions:
        others = [turns.get((p.split, p.id, f"rotation_{turn}")) for turn in range(1, len(p.options))]
        if p.control == "none" and others and None not in others:
            asked[p.split].append([p, *(other for other in others if other is not None)])
    results = []
    for split, questions in asked.items():
        said = {"generated": [[p.prediction for p in orders] for orders in questions]}
        if all(p.logprobs for orders in questions for p in orders):
            said["likelihood"] = [[_letter(p) for p in orders] for orders in questions]
        images = [orders[0].image_id for orders in questions]
        for name, texts in said.items():
            points = circular_points([o[0].options for o in questions], [o[0].answer for o in questions], texts)
            figures = estimate_means(points, images, np.random.default_rng(seed), resamples)
            results.append(CircularResult(split, name, len(questions), len(set(images)), figures))
    return tuple(results)


def _letter(prediction: Prediction) -> str:
    index = chosen_index(prediction)
    assert index is not None
    return f"{string.ascii_uppercase[index]}."
