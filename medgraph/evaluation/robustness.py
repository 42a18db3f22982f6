"""Does accuracy survive a shift? Corrupted images, held-out questions, relative robustness.

Relative robustness is shifted accuracy over unshifted accuracy (SURE-VQA, arXiv:2411.19688); 1 means that nothing is
lost. ``results.json`` holds a list ``robustness`` with one object a split, corruption and severity::

    {"split": "test", "corruption": "blur", "severity": "low", "n": 900, "images": 300,
     "figures": {"accuracy": {"value", "low", "high"}, "shifted": {…}, "difference": {…}, "ratio": {…}}}

and one for ``ood`` against ``test``, whose corruption is ``held out``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medgraph.evaluation.estimate import Estimate, Indices, bootstrap_estimates
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.statistics import Floats, percentile_interval, resampled_means


@dataclass(frozen=True, slots=True)
class ShiftResult:
    """The same questions with corrupted images, or the held-out questions.

    Attributes:
        split: ``test``, ``ood`` …
        corruption: ``blur`` …, or ``held out``.
        severity: ``low``, ``medium`` or ``high``; empty for held-out questions.
        n: questions.
        images: distinct images.
        figures: ``accuracy`` of the images as they are (of ``test``), ``shifted`` accuracy, ``difference`` of the two
            and ``ratio`` (relative robustness); for corrupted images the intervals of the last two are paired.
    """

    split: str
    corruption: str
    severity: str
    n: int
    images: int
    figures: Mapping[str, Estimate]


def corruption_results(
    predictions: Iterable[Prediction], corrupted: Sequence[Prediction], seed: int = 0, resamples: int = 1000
) -> tuple[ShiftResult, ...]:
    """Compare answers about corrupted images with those about the images as they are, question by question.

    Args:
        predictions: of any splits and controls.
        corrupted: control ``blur/low`` and so on.
        seed: of the bootstrap.
        resamples: of the bootstrap over images.
    """
    before = {(p.split, p.id): p.score for p in predictions if p.control == "none"}
    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for p in corrupted:
        if (p.split, p.id) in before:
            groups[p.split, p.control].append(p)
    results = []
    for (split, control), members in groups.items():
        first = np.array([before[split, p.id] for p in members])
        second = np.array([p.score for p in members])

        def figures(index: Indices, first: Floats = first, second: Floats = second) -> dict[str, float]:
            a, b = float(first[index].mean()), float(second[index].mean())
            return {"accuracy": a, "shifted": b, "difference": b - a, "ratio": b / a if a else math.nan}

        images = [p.image_id for p in members]
        estimates = bootstrap_estimates(figures, images, np.random.default_rng(seed), resamples)
        corruption, severity = control.split("/")
        results.append(ShiftResult(split, corruption, severity, len(members), len(set(images)), estimates))
    return tuple(results)


def held_out_results(
    predictions: Iterable[Prediction], seed: int = 0, resamples: int = 1000
) -> tuple[ShiftResult, ...]:
    """Compare ``ood`` with ``test``, other questions about other images; none where a run lacks one of them.

    Args:
        predictions: of any splits and controls.
        seed: of the bootstrap.
        resamples: of the bootstrap; images of both sides are drawn independently.
    """
    sides: dict[str, list[Prediction]] = {"test": [], "ood": []}
    for p in predictions:
        if p.control == "none" and p.split in sides:
            sides[p.split].append(p)
    if not all(sides.values()):
        return ()
    rng = np.random.default_rng(seed)
    draws, means = {}, {}
    for name, side in sides.items():
        scores = [p.score for p in side]
        draws[name] = resampled_means(scores, [p.image_id for p in side], rng, resamples)
        means[name] = float(np.mean(scores))
    images = {p.image_id for p in sides["ood"]}

    def estimate(value: float, drawn: Floats) -> Estimate:
        interval = percentile_interval(drawn[np.isfinite(drawn)], len(images))
        return Estimate(value, interval.low, interval.high)

    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = draws["ood"] / draws["test"]
    figures = {
        "accuracy": estimate(means["test"], draws["test"]),
        "shifted": estimate(means["ood"], draws["ood"]),
        "difference": estimate(means["ood"] - means["test"], draws["ood"] - draws["test"]),
        "ratio": estimate(means["ood"] / means["test"], ratios) if means["test"] else Estimate(math.nan),
    }
    return (ShiftResult("ood", "held out", "", len(sides["ood"]), len(images), figures),)
