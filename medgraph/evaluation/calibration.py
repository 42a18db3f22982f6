"""Does the model know when it is wrong? Calibration of confidences and what selective answering would gain.

Confidences are probabilities that the answer is right: the probability of the chosen option, or a number the model
says. A temperature is fitted on validation logits only, never on the questions that are reported.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.statistics import Floats


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with similar confidence, a dot of the reliability diagram.

    Attributes:
        low: lower edge, exclusive except for 0.
        high: upper edge, inclusive.
        n: answers in the bin.
        confidence: their mean confidence; NaN for an empty bin.
        accuracy: their share of right answers; NaN for an empty bin.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of a set of answers.

    Attributes:
        n: answers.
        ece: expected calibration error over the bins.
        brier: mean squared distance of confidence and correctness.
        auroc: chance that a right answer has more confidence than a wrong one; NaN without both kinds.
        aurc: area under the risk-coverage curve, the mean risk over all coverages.
        bins: of the reliability diagram.
    """

    n: int
    ece: float
    brier: float
    auroc: float
    aurc: float
    bins: tuple[Bin, ...]


def calibrate(confidence: npt.ArrayLike, correct: npt.ArrayLike, num_bins: int = 10) -> Calibration:
    r"""Measure calibration.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|

    over equally wide bins that include their upper edge (0 falls into the first).

    Args:
        confidence: (N,) probabilities that the answers are right, in [0, 1].
        correct: (N,) whether they are, 0 or 1.
        num_bins: number of bins.

    Raises:
        ValueError: for confidences outside [0, 1], different lengths, or no answers.

    Example:
        >>> result = calibrate([0.9, 0.9, 0.6, 0.6], [1, 1, 1, 0])
        >>> round(result.ece, 3), round(result.brier, 3), result.auroc
        (0.1, 0.135, 0.8333333333333334)
    """
    p, right = _checked(confidence, correct)
    index = np.digitize(p, np.linspace(0, 1, num_bins + 1)[1:-1], right=True)
    bins = []
    for i in range(num_bins):
        mine = index == i
        n = int(mine.sum())
        means = (float(p[mine].mean()), float(right[mine].mean())) if n else (math.nan, math.nan)
        bins.append(Bin(i / num_bins, (i + 1) / num_bins, n, *means))
    ece = sum(b.n * abs(b.accuracy - b.confidence) for b in bins if b.n) / len(p)
    _, risk = risk_coverage(p, right)
    brier = float(((p - right) ** 2).mean())
    return Calibration(len(p), float(ece), brier, auroc(p, right), float(risk.mean()), tuple(bins))


def risk_coverage(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Share of wrong answers when only the most confident are given.

    Answers of equal confidence are given together or not at all: each carries the mean risk of its group.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) 0 or 1.

    Returns:
        (N,) coverages 1/N … 1 and (N,) risks.
    """
    p, right = _checked(confidence, correct)
    _, group = np.unique(-p, return_inverse=True)
    expected = (np.bincount(group, weights=1 - right) / np.bincount(group))[np.sort(group)]
    n = np.arange(1, len(p) + 1)
    return n / len(p), np.cumsum(expected) / n


def fit_temperature(logits: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Find the temperature that minimises the negative log-likelihood on validation data (Guo et al. 2017).

    Args:
        logits: (N, K) option scores; -inf for options a question does not have.
        truth: (N,) index of the right option.

    Returns:
        The temperature, in [0.05, 20]; divide test logits by it.

    Raises:
        ValueError: if a right option has no finite score.
    """
    from scipy import optimize

    scores, target = np.asarray(logits, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    rows = np.arange(len(scores))
    if not np.isfinite(scores[rows, target]).all():
        raise ValueError("the right option of every validation question needs a finite score")

    def loss(log_temperature: float) -> float:
        return -float(np.log(option_probabilities(scores, math.exp(log_temperature))[rows, target] + 1e-300).mean())

    found = optimize.minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return float(math.exp(found.x))


def option_probabilities(logits: npt.ArrayLike, temperature: float = 1.0) -> Floats:
    """Softmax over options.

    Args:
        logits: (N, K) option scores; -inf for options a question does not have.
        temperature: positive divisor of the scores.

    Returns:
        (N, K) probabilities.
    """
    scores = np.asarray(logits, dtype=np.float64) / temperature
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Floats = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def verbalised_confidence(text: str) -> float | None:
    """Read the confidence that a model states after that word, as 0.85, 85 or 85 %; None where it states none.

    Example:
        >>> [verbalised_confidence(t) for t in ("yes. Confidence: 85%", "confidence is 0.4", "confidence 120", "sure")]
        [0.85, 0.4, None, None]
    """
    text = re.sub(r"\([^)]*\)", "", text)  # "(0-100)" names the scale
    match = re.search(r"confidence\D{0,20}?(\d+(?:\.\d+)?)\s*(%?)", text, flags=re.IGNORECASE)
    if match is None:
        return None
    value = float(match[1]) / (100 if match[2] or float(match[1]) > 1 else 1)
    return value if value <= 1 else None


def without_confidence(text: str) -> str:
    """The answer without the confidence that is stated behind it.

    Example:
        >>> without_confidence("yes. Confidence (0-100): 85%"), without_confidence("left lung")
        ('yes.', 'left lung')
    """
    return re.split(r"\bconfidence\b", text, maxsplit=1, flags=re.IGNORECASE)[0].rstrip(" ,;(")


def auroc(p: Floats, right: Floats) -> float:
    """Chance that a positive (``right`` = 1) has a higher value than a negative, ties half; NaN without both kinds."""
    from scipy import stats

    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        return math.nan
    ranks = stats.rankdata(p)
    return float((ranks[right == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _checked(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if p.shape != right.shape or p.ndim != 1 or not len(p):
        raise ValueError(f"confidence and correct need equal, non-zero lengths, got {p.shape} and {right.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"confidences must lie in [0, 1], got {p.min():g} to {p.max():g}")
    return p, right
