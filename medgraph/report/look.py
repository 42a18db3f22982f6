"""One look for every figure: Okabe-Ito colours, thin axes, and SVG that follows the page's light or dark theme."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from medgraph.report.words import HasEnds

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
"""Okabe and Ito's colours, told apart with every common colour vision; black and yellow need a fixed background."""

MARKS = ("o", "s", "^", "D", "v", "P")
"""Shapes that go with `COLOURS`, for readers and printers without them."""

LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (2, 1)))
"""Dashes that go with `COLOURS`, where a line is drawn without marks."""

INK, FAINT = "#123456", "#654321"
"""Stand-ins that `to_svg` replaces by the page's text colour and by its colour of faint lines; blue also follows the
theme, being too dark for a dark page."""

WIDTH = 4.4
"""Inches; narrow enough that text stays readable on a phone, and two figures stand side by side on a desk."""

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "grid.alpha": 0.6,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
}


styled = matplotlib.rc_context(_RC)
"""Decorator of every function that draws: artists take their look when they are made."""


def new_figure(height: float, title: str) -> tuple[Figure, Axes]:
    """Start a figure of the house's width.

    Args:
        height: in inches.
        title: what is shown.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(title, x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    return figure, axes


def draw_interval(
    axes: Axes,
    value: float,
    ends: HasEnds,
    position: float,
    colour: str,
    filled: bool = True,
    mark: str = "o",
) -> None:
    """Draw a share and its interval in per cent or points, as a mark on a line; NaN ends draw the mark alone.

    Args:
        axes: a plot whose x axis holds the values.
        value: where the dot goes.
        ends: of the interval.
        position: on the y axis.
        colour: of line and dot.
        filled: False draws an open mark, for controls and references.
        mark: Matplotlib's name of its shape, a second key beside the colour.
    """
    low, high = 100 * ends.low, 100 * ends.high
    if low == low and high == high:
        axes.plot([low, high], [position, position], color=colour, linewidth=2.2, solid_capstyle="round", alpha=0.75)
    face = colour if filled else "none"
    axes.plot([100 * value], [position], mark, color=colour, markerfacecolor=face, markersize=6, clip_on=False)


def label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Put texts beside rows 0, 1 … of a plot that reads from top to bottom."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def legend_below(axes: Axes, columns: int = 2) -> None:
    """Explain the colours under the plot, where nothing can be covered."""
    figure = axes.figure
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8.5, handletextpad=0.5)


def to_svg(figure: Figure, description: str) -> Markup:
    """Turn a figure into inline SVG that inherits font and colours from the page.

    Args:
        figure: made by `new_figure`.
        description: what the figure shows, for screen readers; also keeps the ids of several figures apart.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**_RC, "svg.hashsalt": "medgraph"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(FAINT, "var(--line)")
    svg = svg.replace(BLUE, "var(--blue)")
    svg = re.sub(r" (width|height)=\"[\d.]+pt\"", "", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    prefix = f"f{zlib.crc32(description.encode()):08x}-"
    svg = re.sub(r'(?<= id=")|(?<="#)|(?<=url\(#)', prefix, svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{Markup.escape(description)}"', 1))


_NO_METADATA: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
