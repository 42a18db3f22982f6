"""Images with what was asked about them, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from medgraph.report.look import GREEN, RED

COLUMNS = 4
_CHARACTERS = 34


def draw_answered(
    images: npt.NDArray[np.uint8], texts: Sequence[tuple[str, str, str]], right: Sequence[bool]
) -> Figure:
    """Draw images side by side, above each the question, below it truth and answer.

    Args:
        images: (N, S, S, 3) RGB.
        texts: question, truth and answer of each.
        right: whether the answer is; a mark says so too, for readers without colour.
    """
    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(2.5 * COLUMNS, 3.2 * rows), layout="constrained", facecolor="white")
    for axes in (grid := figure.subplots(rows, COLUMNS, squeeze=False)).flat:
        axes.set_axis_off()
    for axes, image, (question, truth, answer), good in zip(grid.flat, images, texts, right, strict=False):
        axes.imshow(image)
        axes.set_title(_line(question, 2 * _CHARACTERS), fontsize=8, wrap=True, parse_math=False)
        said = f"{'✓' if good else '✗'} {_line(answer, _CHARACTERS) or '(empty)'}"
        place = {"transform": axes.transAxes, "ha": "center", "va": "top", "fontsize": 9, "parse_math": False}
        axes.text(0.5, -0.03, said, color=GREEN if good else RED, fontweight="bold", **place)
        axes.text(0.5, -0.13, f"truth: {_line(truth, _CHARACTERS)}", color="black", **place)
    return figure


def _line(text: str, width: int) -> str:
    """One line of what a model may write: anything."""
    return "".join(each if each.isprintable() else "�" for each in shorten(text, width, placeholder=" …"))
