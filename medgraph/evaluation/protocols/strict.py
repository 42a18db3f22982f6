"""The strict protocol as a table of figures."""

from __future__ import annotations

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values, is_open
from medgraph.evaluation.scoring import is_parsed, strict_score, token_overlap


def _strict(prediction: Prediction, candidates: Candidates) -> Values:
    right = strict_score(prediction.answer, prediction.prediction, prediction.answer_type, prediction.options)
    if is_open(prediction):
        overlap = token_overlap(prediction.answer, prediction.prediction)
        figures = {"open_accuracy": right, "f1": overlap.f1, "precision": overlap.precision, "recall": overlap.recall}
        return figures | {"total_accuracy": right}
    parsed = right or is_parsed(prediction.prediction, prediction.answer_type, prediction.options)
    return {f"{prediction.answer_type}_accuracy": right, "parsed": float(parsed), "total_accuracy": right}


STRICT = Protocol(
    "strict",
    "MedGraph",
    "the whole answer must be right; open questions also token F1 with multiset recall",
    _strict,
)
