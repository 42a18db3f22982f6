"""The figures of the laboratory: differences, bars, curves with intervals, and heatmaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medgraph.evaluation.effects import Effect, Scores
from medgraph.evaluation.statistics import Floats
from medgraph.report.cg_curves import Curve
from medgraph.report.cg_study import accuracy_interval
from medgraph.report.look import (
    BLUE,
    COLOURS,
    FAINT,
    INK,
    MARKS,
    draw_interval,
    label_rows,
    legend_below,
    new_figure,
    styled,
)

_LOSS, _NOTHING, _GAIN = "#b35806", "#f2f2f2", "#1f5fa8"
"""Ends and middle of the heatmaps, told apart with every common colour vision."""
_DARK, _LIGHT = "#1a1a1a", "#ffffff"


@styled
def differences(rows: Mapping[str, Mapping[str, Effect]], title: str) -> Figure:
    """Differences in points to each control, a mark and a line for each; one row an experiment."""
    names = list(dict.fromkeys(name for effects in rows.values() for name in effects))
    figure, axes = new_figure(1.0 + 0.36 * len(rows), title)
    offsets = np.linspace(-0.16, 0.16, len(names)) if len(names) > 1 else np.zeros(1)
    for name, colour, mark, offset in zip(names, COLOURS, MARKS, offsets, strict=False):
        for position, effects in enumerate(rows.values()):
            if name in effects:
                effect, place = effects[name], position + float(offset)
                draw_interval(axes, effect.mean, effect, place, colour, mark=mark)
        axes.plot([], [], mark, color=colour, label=f"minus {name}")
    axes.axvline(0, color=INK, linewidth=1)
    label_rows(axes, list(rows))
    legend_below(axes)
    axes.margins(x=0.05)
    axes.grid(axis="x")
    return figure


@styled
def arm_bars(arms: Mapping[str, Scores], title: str) -> Figure:
    """Accuracy in % of each arm as a bar with its interval (Med-MAT, Fig. 4)."""
    figure, axes = new_figure(0.75 + 0.36 * len(arms), title)
    for position, scores in enumerate(arms.values()):
        value, ends = 100 * scores.accuracy, accuracy_interval(scores)
        axes.barh(position, value, height=0.62, color=BLUE, alpha=0.75)
        axes.plot([100 * ends.low, 100 * ends.high], [position] * 2, color=INK, linewidth=1.5, marker="|", markersize=7)
        axes.text(max(value, 100 * ends.high) + 2, position, f"{value:.1f}", va="center", fontsize=9)
    label_rows(axes, list(arms))
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x")
    return figure


@styled
def size_curves(curves: Sequence[Curve], title: str, label: str) -> Figure:
    """Accuracy in % over images on a logarithmic axis that begins at zero, with bands for the intervals."""
    figure, axes = new_figure(3.0, title)
    sizes = sorted({size for curve in curves for size in curve.sizes})
    for curve, colour, mark in zip(curves, COLOURS, MARKS, strict=False):
        low, high = (100 * np.array(ends) for ends in zip(*((i.low, i.high) for i in curve.intervals), strict=True))
        axes.fill_between(curve.sizes, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            curve.sizes, 100 * np.array(curve.accuracy), marker=mark, color=colour, markersize=5, label=curve.name
        )
    axes.set_xscale("symlog", linthresh=next((size for size in sizes if size), 1))
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45, ha="right", rotation_mode="anchor")
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(axis="y")
    legend_below(axes, columns=3)
    return figure


@styled
def heatmap(values: Floats, counts: Floats, rows: Sequence[str], columns: Sequence[str], title: str) -> Figure:
    """Differences in points as colours and numbers, how many stand behind each, and hatching where there is nothing.

    Args:
        values: (rows, columns) shares, NaN where nothing was measured.
        counts: (rows, columns) experiments behind a cell.
        rows: names.
        columns: names.
        title: what is shown.
    """
    figure, axes = new_figure(1.5 + 0.36 * len(rows), title)
    largest = max(1.0, float(np.nanmax(np.abs(100 * values)))) if np.isfinite(values).any() else 1.0
    colours, scale = LinearSegmentedColormap.from_list("gain", [_LOSS, _NOTHING, _GAIN]), Normalize(-largest, largest)
    small = len(columns) > 6
    for (y, x), value in np.ndenumerate(100 * values):
        place = (x - 0.47, y - 0.45)
        if np.isnan(value):
            axes.add_patch(Rectangle(place, 0.94, 0.9, fill=False, hatch="////", edgecolor=FAINT, linewidth=0))
            continue
        red, green, blue, _ = colours(scale(value))
        axes.add_patch(Rectangle(place, 0.94, 0.9, facecolor=(red, green, blue), linewidth=0))
        ink = _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else _LIGHT
        number = f"{value:+.{0 if small else 1}f}".replace("-", "−")
        axes.text(x, y, f"{number}\n({counts[y, x]:.0f})", ha="center", va="center", color=ink, linespacing=1.05,
                  fontsize=6.8 if small else 8)  # fmt: skip
    label_rows(axes, rows)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    return figure
