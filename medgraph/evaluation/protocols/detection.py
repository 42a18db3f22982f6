"""Boxes in answers: intersection over union, for the detection subsets of Med-MAT (arXiv:2412.20070, Table 5)."""

from __future__ import annotations

from medgraph.evaluation.boxes import match_boxes, parse_boxes
from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values


def _detection(prediction: Prediction, candidates: Candidates) -> Values:
    truth, found = parse_boxes(prediction.answer), parse_boxes(prediction.prediction)
    if not truth:
        return {}
    overlap = match_boxes(truth, found)
    return {
        "mean_iou": overlap.iou,
        "accuracy_50": float(overlap.iou >= 0.5),
        "unparsed": float(not found),
        "intersection": overlap.intersection,
        "union": overlap.union,
    }


DETECTION = Protocol(
    "detection",
    "MedGraph, after Med-MAT (arXiv:2412.20070, Table 5)",
    "boxes matched one to one; a missing or superfluous box counts as IoU 0 and its area as union",
    _detection,
    ratios={"cumulative_iou": ("intersection", "union")},
)
