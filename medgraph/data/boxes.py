"""Boxes: from masks (Med-MAT takes the outermost mask pixels), checked against the image, and as text in answers.

A box is (x1, y1, x2, y2) in pixels, half open: it covers columns x1 … x2 - 1 and rows y1 … y2 - 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Box = tuple[float, float, float, float]

Style = Literal["minigpt_v2", "decimal"]
"""``minigpt_v2`` (arXiv:2310.09478): whole percent, ``{<12><30><55><80>}``.

``decimal``: shares with three decimals, ``[0.125,0.300,0.550,0.800]``.
"""


def mask_boxes(mask: npt.NDArray[np.integer], per: Literal["class", "component"] = "class") -> list[tuple[int, Box]]:
    """Boxes around the classes of a mask.

    Args:
        mask: (H, W) whole numbers, 0 for background.
        per: one box a class around all its pixels (Med-MAT), or one a connected component (diagonals connect).

    Returns:
        (class value, box), sorted by class and then from top to bottom; empty for an empty mask.

    Raises:
        ValueError: if the mask is not two-dimensional.

    Example:
        >>> mask = np.zeros((4, 6), int); mask[1:3, 2:5] = 7
        >>> mask_boxes(mask)
        [(7, (2.0, 1.0, 5.0, 3.0))]
    """
    if mask.ndim != 2:
        raise ValueError(f"mask of shape {mask.shape}: expected (H, W); take one channel")
    boxes = []
    for value in np.unique(mask[mask != 0]):
        pixels = mask == value
        labels = ndimage.label(pixels, np.ones((3, 3)))[0] if per == "component" else pixels.astype(int)
        for rows, columns in ndimage.find_objects(labels):
            boxes.append((int(value), (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))))
    return boxes


def clean_box(box: Sequence[float], width: int, height: int, counts: Counter[str]) -> Box | None:
    """Make a published box usable, or reject it; every change is counted.

    Args:
        box: x1, y1, x2, y2 in pixels.
        width: of the image.
        height: of the image.
        counts: gets ``boxes flipped``, ``boxes clipped to the image`` and ``boxes without area, rejected``.

    Returns:
        The box with x1 < x2 and y1 < y2 inside the image, or None if nothing of it is inside.

    Raises:
        ValueError: if there are not four finite numbers.
    """
    if len(box) != 4 or not np.isfinite(box).all():
        raise ValueError(f"box {list(box)}: expected four finite numbers x1, y1, x2, y2")
    x1, y1, x2, y2 = map(float, box)
    if x1 > x2 or y1 > y2:
        counts["boxes flipped"] += 1
        (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        counts["boxes without area, rejected"] += 1
        return None
    counts["boxes clipped to the image"] += inside != (x1, y1, x2, y2)
    return inside


def box_text(boxes: Sequence[Box], width: int, height: int, style: Style = "minigpt_v2") -> str:
    """Write boxes as an answer, in shares of the image.

    Args:
        boxes: at least one.
        width: of the image.
        height: of the image.
        style: see `Style`.

    Raises:
        ValueError: for no boxes or an unknown style.

    Example:
        >>> box_text([(50, 30, 100, 60)], 200, 100), box_text([(50, 30, 100, 60)], 200, 100, "decimal")
        ('{<25><30><50><60>}', '[0.250,0.300,0.500,0.600]')
    """
    if not boxes:
        raise ValueError("no boxes to write; leave images without any out and count them")
    shares = [(x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in boxes]
    if style == "minigpt_v2":
        return "<delim>".join("{" + "".join(f"<{round(100 * v)}>" for v in share) + "}" for share in shares)
    if style == "decimal":
        return "".join("[" + ",".join(f"{v:.3f}" for v in share) + "]" for share in shares)
    raise ValueError(f"style {style!r}: expected minigpt_v2 or decimal")


def next_chat_entry(image: str, question: str, boxes: Sequence[Box], width: int, height: int) -> dict[str, Any]:
    """A training sample of NExT-Chat (arXiv:2311.04498), whose boxes are embeddings and not text.

    The text holds a placeholder, the boxes are beside it in pixels, and ``boxes_seq`` says which belong to it.

    Args:
        image: path of the image.
        question: without the image's placeholder.
        boxes: at least one.
        width: of the image.
        height: of the image.

    Returns:
        One entry of its JSON files.

    Raises:
        ValueError: for no boxes.

    Example:
        >>> entry = next_chat_entry("a.png", "Where is the polyp?", [(50, 30, 100, 60)], 200, 100)
        >>> entry["target"], entry["conversations"][1]["value"]
        ({'boxes': [[50, 30, 100, 60]], 'width': 200, 'height': 100}, 'Answer: <at> <boxes> .')
    """
    if not boxes:
        raise ValueError("no boxes to write; leave images without any out and count them")
    answer = {"from": "gpt", "value": "Answer: <at> <boxes> .", "boxes_seq": [list(range(len(boxes)))]}
    return {
        "image": image,
        "target": {"boxes": [list(box) for box in boxes], "width": width, "height": height},
        "conversations": [{"from": "human", "value": f"<image> {question}"}, answer],
    }
