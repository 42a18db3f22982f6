"""What do frozen features know? k-nearest-neighbour and linear probes with macro metrics.

Everything that is chosen (neighbours, weight decay, decision thresholds) is chosen on the validation split, never on
what is reported.

Letters: N samples, D width, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.estimate import Estimate, Indices, bootstrap_estimates
from medgraph.evaluation.retrieval import cosine_similarity
from medgraph.evaluation.statistics import Floats

Labels = npt.NDArray[np.int64]

NEIGHBOURS = (1, 5, 10, 20)
DECAYS = (1e-4, 1e-2, 1.0)
TEMPERATURE = 0.07
"""Of the votes of neighbours, as in DINO (arXiv:2104.14294)."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one split.

    Attributes:
        x: (N, D) float.
        y: (N,) class 0 to C - 1.
        groups: (N,) image or patient; intervals are over these.
    """

    x: Floats
    y: Labels
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe on the test split.

    Attributes:
        probe: ``knn`` or ``linear``.
        chosen: number of neighbours, or weight decay, with the highest macro F1 on validation.
        n: test samples.
        classes: number of classes.
        figures: ``accuracy``, ``macro_recall``, ``macro_f1`` (both at thresholds from validation) and ``macro_auroc``.
    """

    probe: str
    chosen: float
    n: int
    classes: int
    figures: dict[str, Estimate]


def probe(
    train: Features, validation: Features, test: Features, rng: np.random.Generator, resamples: int = 1000
) -> tuple[ProbeResult, ProbeResult]:
    """Fit both probes on ``train``, choose on ``validation``, report on ``test``.

    Raises:
        ValueError: if a class of validation or test is not in training, or a split is empty.
    """
    classes = int(train.y.max()) + 1 if len(train.y) else 0
    for name, split in (("validation", validation), ("test", test)):
        unknown = sorted(set(split.y.tolist()) - set(train.y.tolist()))
        if not len(split.y) or unknown:
            raise ValueError(f"{name} has {len(split.y)} samples and classes that training lacks: {unknown or 'none'}")
    knn = {float(k): knn_probabilities(train.x, train.y, (validation.x, test.x), k, classes) for k in NEIGHBOURS}
    fits = {decay: fit_linear(train.x, train.y, decay, classes) for decay in DECAYS}
    linear = {decay: [fit(validation.x), fit(test.x)] for decay, fit in fits.items()}
    results = [
        _choose(name, made, validation, test, rng, resamples) for name, made in (("knn", knn), ("linear", linear))
    ]
    return results[0], results[1]


def knn_probabilities(x: Floats, y: Labels, queries: Sequence[Floats], k: int, classes: int) -> list[Floats]:
    """Class probabilities by the votes of the k most similar training samples, weighted by exp(cosine / 0.07)."""
    made = []
    for query in queries:
        similarity = cosine_similarity(query, x)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        weights = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1) / TEMPERATURE) + 1e-12
        votes = np.zeros((len(query), classes))
        np.add.at(votes, (np.arange(len(query))[:, None], y[nearest]), weights)
        made.append(votes / votes.sum(axis=1, keepdims=True))
    return made


def fit_linear(x: Floats, y: Labels, decay: float, classes: int) -> Callable[[Floats], Floats]:
    """Fit a multinomial logistic regression: mean cross entropy plus decay / 2 · ‖W‖², by L-BFGS.

    Args:
        x: (N, D) training features; they and all queries are standardised by their mean and SD.
        y: (N,) classes.
        decay: weight of the penalty; the bias is free.
        classes: C.

    Returns:
        What makes (M, C) class probabilities of (M, D) features.
    """
    from scipy import optimize, special

    mean, sd = x.mean(0), x.std(0) + 1e-8
    x = (x - mean) / sd
    one_hot, width = np.eye(classes)[y], x.shape[1]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(width + 1, classes)
        log_p = special.log_softmax(x @ weights[:-1] + weights[-1], axis=1)
        error = (np.exp(log_p) - one_hot) / len(x)
        gradient = np.vstack([x.T @ error + decay * weights[:-1], error.sum(0)])
        value = -(log_p * one_hot).sum() / len(x) + decay / 2 * (weights[:-1] ** 2).sum()
        return float(value), gradient.ravel()

    start = np.zeros((width + 1) * classes)
    weights = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weights = weights.reshape(width + 1, classes)
    return lambda query: np.asarray(special.softmax((query - mean) / sd @ weights[:-1] + weights[-1], axis=1))


def best_thresholds(probabilities: Floats, y: Labels) -> Floats:
    """(C,) threshold of each class against the rest that maximises its F1; 0.5 for classes that do not occur."""
    thresholds = np.full(probabilities.shape[1], 0.5)
    for c in range(len(thresholds)):
        values = np.unique(probabilities[:, c])
        if (y == c).any():
            thresholds[c] = values[int(np.argmax([_f1(probabilities[:, c] >= value, y == c) for value in values]))]
    return thresholds


def probe_figures(probabilities: Floats, y: Labels, thresholds: Floats) -> dict[str, float]:
    """Accuracy of the likeliest class; recall, F1 (each class against the rest) and AUROC as means over the classes.

    Classes that do not occur are left out of the means.
    """
    present = np.unique(y)
    said = probabilities >= thresholds
    return {
        "accuracy": float((probabilities.argmax(axis=1) == y).mean()),
        "macro_recall": float(np.mean([said[y == c, c].mean() for c in present])),
        "macro_f1": float(np.mean([_f1(said[:, c], y == c) for c in present])),
        "macro_auroc": _macro_auroc(probabilities, y),
    }


def measure(
    name: str,
    chosen: float,
    validation: Features,
    test: Features,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> ProbeResult:
    """Figures of a classifier on ``test``, at thresholds from ``validation``.

    Args:
        name: of the classifier.
        chosen: the setting that was chosen for it.
        validation: class probabilities (N, C) in the place of features.
        test: the same of the test split.
        rng: source of the resamples.
        resamples: of the bootstrap over groups.
    """
    thresholds = best_thresholds(validation.x, validation.y)

    def figures(index: Indices) -> dict[str, float]:
        return probe_figures(test.x[index], test.y[index], thresholds)

    estimates = bootstrap_estimates(figures, test.groups, rng, resamples)
    return ProbeResult(name, chosen, len(test.y), test.x.shape[1], estimates)


def _choose(
    name: str,
    fits: dict[float, list[Floats]],
    validation: Features,
    test: Features,
    rng: np.random.Generator,
    resamples: int,
) -> ProbeResult:
    def macro_f1(option: float) -> float:
        probabilities = fits[option][0]
        return probe_figures(probabilities, validation.y, best_thresholds(probabilities, validation.y))["macro_f1"]

    chosen = max(fits, key=macro_f1)
    on_validation, on_test = (replace(split, x=x) for split, x in zip((validation, test), fits[chosen], strict=True))
    return measure(name, chosen, on_validation, on_test, rng, resamples)


def _macro_auroc(probabilities: Floats, y: Labels) -> float:
    """Mean over the classes of `medgraph.evaluation.calibration.auroc`, with the ranks of all of them at once."""
    from scipy import stats

    present, counts = np.unique(y, return_counts=True)
    if len(present) == 1:
        return math.nan
    ranks = stats.rankdata(probabilities[:, present], axis=0)
    sums = (ranks * (y[:, None] == present)).sum(0)
    return float(((sums - counts * (counts + 1) / 2) / (counts * (len(y) - counts))).mean())


def _f1(said: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float:
    both = int((said & true).sum())
    return 2 * both / (int(said.sum()) + int(true.sum())) if both else 0.0
