"""Protocols by name, and the function that applies one to a set of answers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from medgraph.evaluation.estimate import bootstrap_estimates
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.choices import LIKELIHOOD, LIKELIHOOD_TEXT, MEDMAT, OMNIMEDVQA
from medgraph.evaluation.protocols.detection import DETECTION
from medgraph.evaluation.protocols.llava import LLAVA_PROTOCOLS
from medgraph.evaluation.protocols.medevalkit import MEDEVALKIT, MEDEVALKIT_LEGACY
from medgraph.evaluation.protocols.protocol import Candidates, Figure, Protocol, ProtocolScore
from medgraph.evaluation.protocols.strict import STRICT
from medgraph.evaluation.protocols.sure import SURE
from medgraph.evaluation.protocols.text_metrics import TEXT
from medgraph.evaluation.statistics import Interval, cluster_bootstrap, macro_bootstrap, wilson

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        STRICT,
        LIKELIHOOD,
        LIKELIHOOD_TEXT,
        *LLAVA_PROTOCOLS,
        SURE,
        MEDEVALKIT,
        MEDEVALKIT_LEGACY,
        MEDMAT,
        OMNIMEDVQA,
        DETECTION,
        TEXT,
    )
}

_NO_CANDIDATES = Candidates()


def get_protocol(name: str) -> Protocol:
    """Look up a protocol.

    Raises:
        ValueError: naming the known protocols.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOLS)}, or all")
    return PROTOCOLS[name]


def score_protocol(
    predictions: Sequence[Prediction],
    protocol: str,
    candidates: Candidates = _NO_CANDIDATES,
    resamples: int = 2000,
    seed: int = 0,
) -> ProtocolScore:
    """Compute every figure of a protocol.

    Args:
        predictions: answers of one split under one control, with unique ids.
        protocol: a name in `PROTOCOLS`.
        candidates: training answers, for the open accuracy of the LLaVA-Med family; without them it is absent.
        resamples: of the bootstrap over images; 0 leaves intervals out.
        seed: of the bootstrap.

    Returns:
        The figures in per cent, with `average` where the protocol has one.
    """
    rule = get_protocol(protocol)
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for prediction in predictions:
        for name, value in rule.score_question(prediction, candidates).items():
            if value is not None:
                values[name][prediction.id] = value
    images = {p.id: p.image_id for p in predictions}
    parts = {name: (values.pop(a), values.pop(b)) for name, (a, b) in rule.ratios.items() if a in values}
    figures = {name: _figure([scores], images, resamples, seed) for name, scores in values.items()}
    figures |= {name: _ratio(*sums, images, resamples, seed) for name, sums in parts.items()}
    if rule.name == "medevalkit_legacy" and "open_accuracy" in figures:
        figures["open_accuracy"] = _scaled(figures["open_accuracy"], 1 / figures["open_accuracy"].n)
    if rule.average and all(name in values for name in rule.average):
        figures["average"] = _figure([values[name] for name in rule.average], images, resamples, seed)
    return ProtocolScore(rule, figures, dict(values))


def _figure(groups: Sequence[Mapping[str, float]], images: Mapping[str, str], resamples: int, seed: int) -> Figure:
    """Unweighted mean of the means of the groups, in per cent."""
    ids = [key for group in groups for key in group]
    scores = [value for group in groups for value in group.values()]
    value = float(np.mean([np.mean(list(group.values())) for group in groups]))
    if not resamples:
        return Figure(100 * value, len(ids), Interval(math.nan, math.nan))
    rng, clusters = np.random.default_rng(seed), [images[key] for key in ids]
    if len(groups) == 1:
        interval = cluster_bootstrap(scores, clusters, rng, resamples)
        if value in (0, 1):  # resampling says nothing
            interval = wilson(sum(scores), len(scores))
    else:
        interval = macro_bootstrap(scores, clusters, [i for i, g in enumerate(groups) for _ in g], rng, resamples)
    return _scaled(Figure(value, len(ids), interval), 100)


def _ratio(
    top: Mapping[str, float], bottom: Mapping[str, float], images: Mapping[str, str], resamples: int, seed: int
) -> Figure:
    """Sum over sum, in per cent."""
    numerator, denominator = (np.array(list(part.values())) for part in (top, bottom))
    estimate = bootstrap_estimates(
        lambda index: {"ratio": float(numerator[index].sum() / denominator[index].sum())},
        [images[key] for key in top],
        np.random.default_rng(seed),
        resamples,
    )["ratio"]
    return _scaled(Figure(estimate.value, len(top), Interval(estimate.low, estimate.high)), 100)


def _scaled(figure: Figure, factor: float) -> Figure:
    return Figure(
        figure.value * factor, figure.n, Interval(figure.interval.low * factor, figure.interval.high * factor)
    )
