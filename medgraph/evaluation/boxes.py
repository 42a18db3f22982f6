"""Boxes in answers: read from text, and matched with those of the truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) with x1 < x2 and y1 < y2, in any unit, the same for truth and answer."""

_NUMBER = r"-?\d+(?:\.\d+)?"
_BOX = re.compile(
    r"[\[(<]\s*" + r"\s*,\s*".join([f"({_NUMBER})"] * 4) + r"\s*[\])>]"
    + r"|\{" + rf"<\s*({_NUMBER})\s*>" * 4 + r"\}"
)  # fmt: skip


def parse_boxes(text: str) -> list[Box]:
    """Read every group of four numbers that is a box: bracketed, or as MiniGPT-v2 writes them, in percent.

    Groups without area are left out.

    Example:
        >>> parse_boxes("left lung [0.1, 0.2, 0.4, 0.9] and (3,3,3,5)"), parse_boxes("{<10><20><40><90>}")
        ([(0.1, 0.2, 0.4, 0.9)], [(0.1, 0.2, 0.4, 0.9)])
    """
    boxes = []
    for match in _BOX.finditer(text):
        bracketed = match[1] is not None
        x1, y1, x2, y2 = (float(n) if bracketed else float(n) / 100 for n in match.groups() if n is not None)
        boxes.append((x1, y1, x2, y2))
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes if x1 < x2 and y1 < y2]


def intersection_and_union(first: Box, second: Box) -> tuple[float, float]:
    """Areas that two boxes share and cover together."""
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    shared = width * height
    return shared, _area(first) + _area(second) - shared


@dataclass(frozen=True, slots=True)
class Overlap:
    """Boxes of an answer against those of the truth, matched one to one for the largest sum of IoU.

    Attributes:
        iou: mean over the larger number of boxes, so that missing and superfluous ones count 0; in [0, 1].
        intersection: sum of the areas that matched boxes share.
        union: sum of the areas that they cover, and of the boxes without a match.
    """

    iou: float
    intersection: float
    union: float


def match_boxes(truth: Sequence[Box], found: Sequence[Box]) -> Overlap:
    """Match the boxes of an answer to at least one of the truth.

    Example:
        >>> match_boxes([(0, 0, 2, 2)], [(0, 0, 2, 1)])
        Overlap(iou=0.5, intersection=2.0, union=4.0)
    """
    shared, union = np.zeros((len(truth), len(found))), np.ones((len(truth), len(found)))
    for i, box in enumerate(truth):
        for j, other in enumerate(found):
            shared[i, j], union[i, j] = intersection_and_union(box, other)
    rows, columns = linear_sum_assignment(shared / union, maximize=True)
    alone = sum(_area(truth[i]) for i in set(range(len(truth))) - set(rows.tolist()))
    alone += sum(_area(found[j]) for j in set(range(len(found))) - set(columns.tolist()))
    iou = float((shared / union)[rows, columns].sum()) / max(len(truth), len(found))
    return Overlap(iou, float(shared[rows, columns].sum()), float(union[rows, columns].sum() + alone))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
