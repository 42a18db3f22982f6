"""Does accuracy survive a shift? Corrupted images, held-out metadata, relative robustness.

Relative robustness is shifted accuracy over unshifted accuracy (SURE-VQA, arXiv:2411.19688); 1 means that nothing is
lost. ``results.json`` holds a list ``robustness`` with one object a split, corruption and severity::

    {"split": "test", "corruption": "blur", "severity": "low", "n": 900, "images": 300,
     "figures": {"accuracy": {"value", "low", "high"}, "shifted": {…}, "difference": {…}, "ratio": {…}}}
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medgraph.evaluation.estimate import Estimate, Indices, bootstrap_estimates
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.statistics import RESAMPLES, Floats, Interval, resampled_means


@dataclass(frozen=True, slots=True)
class ShiftResult:
    """The same questions with corrupted images.

    Attributes:
        split: ``test``, ``ood`` …
        corruption: ``blur`` …
        severity: ``low``, ``medium`` or ``high``.
        n: questions.
        images: distinct images.
        figures: ``accuracy`` of the images as they are, ``shifted`` accuracy, ``difference`` of the two and ``ratio``
            (relative robustness); the intervals of the last two are paired.
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


@dataclass(frozen=True, slots=True)
class Robustness:
    """Accuracy without and with a shift.

    Attributes:
        accuracy: without.
        shifted: with.
        ratio: shifted over unshifted accuracy; NaN where the latter is 0.
        interval: of the ratio, images of both sides resampled independently.
    """

    accuracy: float
    shifted: float
    ratio: float
    interval: Interval


def relative_robustness(
    unshifted: Sequence[Prediction],
    shifted: Sequence[Prediction],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Robustness:
    """Compare answers to unshifted and shifted questions of different images.

    Raises:
        ValueError: if a side is empty.
    """
    if not unshifted or not shifted:
        raise ValueError(f"robustness needs questions on both sides, got {len(unshifted)} and {len(shifted)}")
    before, after = (_means(side, rng, resamples) for side in (unshifted, shifted))
    accuracy, lower = (float(np.mean([p.score for p in side])) for side in (unshifted, shifted))
    ratios = after[before > 0] / before[before > 0]
    ends = np.quantile(ratios, [0.025, 0.975]) if accuracy else (np.nan, np.nan)
    return Robustness(
        accuracy, lower, lower / accuracy if accuracy else np.nan, Interval(float(ends[0]), float(ends[1]))
    )


def hold_out(
    predictions: Sequence[Prediction], value_of: Callable[[Prediction], str], value: str
) -> tuple[list[Prediction], list[Prediction]]:
    """Split by a metadata value: everything else, and the held-out value.

    Args:
        predictions: of one split and control.
        value_of: reads the metadata of a prediction, such as ``lambda p: p.triplet.split("/")[0]`` for the modality.
        value: the value held out.

    Raises:
        ValueError: naming the values there are if nothing or everything has this one.
    """
    inside = [p for p in predictions if value_of(p) == value]
    outside = [p for p in predictions if value_of(p) != value]
    if not inside or not outside:
        known = ", ".join(sorted({value_of(p) for p in predictions}))
        raise ValueError(
            f"cannot hold out {value!r}: {len(inside)} of {len(predictions)} questions have it; values: {known}"
        )
    return outside, inside


def _means(side: Sequence[Prediction], rng: np.random.Generator, resamples: int) -> Floats:
    return resampled_means([p.score for p in side], [p.image_id for p in side], rng, resamples)
