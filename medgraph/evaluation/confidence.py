"""Calibration of a run: do the model's confidences say how often it is right, and what would a temperature mend?

``results.json`` holds a list ``calibration`` with one object a split, source of confidence and temperature::

    {"split": "test", "source": "options" or "verbalised", "temperature": 1.0, "fitted_on": 0, "n": 900, "images": 300,
     "figures": {"accuracy": {"value": 0.69, "low": 0.66, "high": 0.72},
                 "confidence": {…}, "ece": {…}, "brier": {…}, "auroc": {…}, "aurc": {…}},
     "bins": [{"low": 0.0, "high": 0.1, "n": 12, "confidence": 0.07, "accuracy": 0.08}, …],
     "coverage": [0.01, …, 1.0], "risk": [0.0, …, 0.31]}

``fitted_on`` is 0 for the scores as they are; the entry of the same split and source with a higher number shows them
divided by a temperature that was fitted on so many validation questions. Empty bins have n = 0 and null means;
undefined figures (AUROC without a wrong answer) are null. Shares are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.calibration import (
    Bin,
    calibrate,
    fit_temperature,
    option_probabilities,
    risk_coverage,
    verbalised_confidence,
    without_confidence,
)
from medgraph.evaluation.estimate import Estimate, Indices, bootstrap_estimates
from medgraph.evaluation.likelihood import chosen_index, logprob_table, scored, truth_index
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.scoring import strict_score

POINTS = 100
"""Points of a risk-coverage curve, at most."""
FEWEST = 20
"""Validation questions below which no temperature is fitted."""


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """Calibration of the model's answers in one split; the module says how it looks as JSON.

    Attributes:
        split: ``test``, ``ood`` …
        source: ``options``: probability of the most likely of the allowed answers; ``verbalised``: what the answer
            says.
        temperature: that the log-likelihoods were divided by.
        fitted_on: validation questions it was fitted on; 0 for the scores as they are.
        n: questions with a confidence.
        images: distinct images.
        figures: accuracy and mean confidence of these answers, ECE (ten equal bins that include their upper edge),
            Brier score, AUROC of the confidence and area under the risk-coverage curve.
        bins: of the reliability diagram.
        coverage: shares of the questions answered, the most confident first.
        risk: share of wrong answers among them.
    """

    split: str
    source: str
    temperature: float
    fitted_on: int
    n: int
    images: int
    figures: Mapping[str, Estimate]
    bins: tuple[Bin, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


def calibrations(
    predictions: Iterable[Prediction], validation: Sequence[Prediction] = (), seed: int = 0, resamples: int = 1000
) -> tuple[CalibrationResult, ...]:
    """Calibration by split: as the model is, with a temperature, and by what its answers say.

    Args:
        predictions: of any splits and controls; those of controls are ignored.
        validation: questions to fit the temperature on; fewer than `FEWEST` with log-likelihoods fit none.
        seed: of the bootstrap.
        resamples: of the bootstrap over images.
    """
    splits: dict[str, list[Prediction]] = {}
    for p in predictions:
        if p.control == "none":
            splits.setdefault(p.split, []).append(p)
    temperatures = {1.0: 0}
    known = scored(validation)
    if len(known) >= FEWEST:
        truths = [index for p in known if (index := truth_index(p)) is not None]
        temperatures[fit_temperature(logprob_table(known), truths)] = len(known)
    results = []
    for split, members in splits.items():
        if ranked := scored(members):
            right = [float(chosen_index(p) == truth_index(p)) for p in ranked]
            for temperature, fitted_on in temperatures.items():
                confidence = option_probabilities(logprob_table(ranked), temperature).max(axis=1)
                about = (split, "options", temperature, fitted_on)
                results.append(_calibration(about, ranked, confidence, right, seed, resamples))
        said = [(p, stated) for p in members if (stated := verbalised_confidence(p.prediction)) is not None]
        if said:
            speakers = [p for p, _ in said]
            right = [
                strict_score(p.answer, without_confidence(p.prediction), p.answer_type, p.options) for p in speakers
            ]
            about = (split, "verbalised", 1.0, 0)
            results.append(_calibration(about, speakers, [stated for _, stated in said], right, seed, resamples))
    return tuple(results)


def _calibration(
    about: tuple[str, str, float, int],
    questions: Sequence[Prediction],
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    seed: int,
    resamples: int,
) -> CalibrationResult:
    p, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)

    def figures(index: Indices) -> dict[str, float]:
        result = calibrate(p[index], right[index])
        means = {"accuracy": float(right[index].mean()), "confidence": float(p[index].mean())}
        return means | {name: getattr(result, name) for name in ("ece", "brier", "auroc", "aurc")}

    images = [question.image_id for question in questions]
    coverage, risk = risk_coverage(p, right)
    at = np.unique(np.ceil(np.linspace(1 / POINTS, 1, POINTS) * len(p)).astype(int)) - 1
    return CalibrationResult(
        *about,
        n=len(p),
        images=len(set(images)),
        figures=bootstrap_estimates(figures, images, np.random.default_rng(seed), resamples),
        bins=calibrate(p, right).bins,
        coverage=tuple(coverage[at].tolist()),
        risk=tuple(risk[at].tolist()),
    )
