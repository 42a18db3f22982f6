"""Boxes in generated text: intersection over union as the Med-MAT detection subsets need it.

Boxes are (x1, y1, x2, y2) with x1 < x2 and y1 < y2, in any unit, the same for truth and answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]

_NUMBER = r"-?\d+(?:\.\d+)?"
_BOX = re.compile(r"[\[(<]\s*" + r"\s*,\s*".join([f"({_NUMBER})"] * 4) + r"\s*[\])>]")


def parse_boxes(text: str) -> list[Box]:
    """Read every bracketed group of four numbers that is a box; groups without area are left out.

    Example:
        >>> parse_boxes("left lung [0.1, 0.2, 0.4, 0.9] and (3,3,3,5)")
        [(0.1, 0.2, 0.4, 0.9)]
    """
    found = [tuple(map(float, match)) for match in _BOX.findall(text)]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in found if x1 < x2 and y1 < y2]


def intersection_and_union(first: Box, second: Box) -> tuple[float, float]:
    """Areas that two boxes share and cover together."""
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    shared = width * height
    return shared, _area(first) + _area(second) - shared


@dataclass(frozen=True, slots=True)
class DetectionScore:
    """Scores of one box a question.

    Attributes:
        n: questions.
        mean_iou: mean over questions.
        cumulative_iou: sum of intersections over sum of unions; large boxes weigh more.
        accuracy: share of questions with IoU of at least 0.5.
        unparsed: share of answers without exactly one box; they count as IoU 0.
    """

    n: int
    mean_iou: float
    cumulative_iou: float
    accuracy: float
    unparsed: float


def score_boxes(truth: Sequence[Box], answers: Sequence[str]) -> DetectionScore:
    """Score answers that should name one box each.

    Raises:
        ValueError: for a true box without area.
    """
    ious, shared_sum, union_sum, unparsed = [], 0.0, 0.0, 0
    for box, text in zip(truth, answers, strict=True):
        if not _area(box) > 0 or box[0] >= box[2]:
            raise ValueError(f"the true box {box} has no area; expected x1 < x2 and y1 < y2")
        boxes = parse_boxes(text)
        unparsed += len(boxes) != 1
        shared, union = intersection_and_union(box, boxes[0]) if len(boxes) == 1 else (0.0, _area(box))
        ious.append(shared / union)
        shared_sum, union_sum = shared_sum + shared, union_sum + union
    n = len(ious)
    if not n:
        return DetectionScore(0, math.nan, math.nan, math.nan, math.nan)
    return DetectionScore(n, sum(ious) / n, shared_sum / union_sum, sum(i >= 0.5 for i in ious) / n, unparsed / n)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
