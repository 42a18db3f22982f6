"""Figures of how a run answers: reliability, risk over coverage, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medgraph.evaluation.confidence import CalibrationResult
from medgraph.report.confusion import Confusion
from medgraph.report.look import BLUE, COLOURS, INK, LINES, MARKS, ORANGE, WIDTH, legend_below, new_figure, styled
from medgraph.report.words import split_name


@styled
def reliability(entries: Sequence[CalibrationResult], title: str) -> Figure:
    """Accuracy over confidence in ten bins, the number of answers in each below.

    Args:
        entries: of one split and source; as it is first, then with a temperature.
        title: of the figure.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.suptitle(title, x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    upper.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle=":", label="calibrated")
    width = 8 / len(entries)
    for i, (entry, colour, mark) in enumerate(zip(entries, (BLUE, ORANGE), MARKS, strict=False)):
        used = [b for b in entry.bins if b.n]
        name = f"temperature {entry.temperature:.2f}" if entry.fitted_on else "as it is"
        upper.plot(
            [100 * b.confidence for b in used], [100 * b.accuracy for b in used], marker=mark, color=colour,
            markerfacecolor="none" if entry.fitted_on else colour, markersize=5.5, linewidth=1.2, label=name,
        )  # fmt: skip
        left = [50 * (b.low + b.high) + width * (i - (len(entries) - 1) / 2) for b in used]
        lower.bar(left, [b.n for b in used], width=0.92 * width, color=colour, alpha=0.8)
        for x, b in zip(left, used, strict=True):
            lower.text(x, b.n, f"{b.n:,}", ha="center", va="bottom", fontsize=7)
    upper.set_ylabel("right, %")
    upper.set_ylim(0, 104)
    upper.grid()
    lower.set_ylabel("answers")
    lower.margins(y=0.25)
    lower.set_xlim(0, 100)
    lower.set_xticks(range(0, 101, 20))
    lower.set_xlabel("confidence, %")
    legend_below(upper, 3)
    return figure


@styled
def risk_over_coverage(entries: Sequence[CalibrationResult]) -> Figure:
    """Share of wrong answers when only the most confident ones are given; one line a split and source."""
    figure, axes = new_figure(2.9, "Wrong answers over answered questions, %")
    for i, entry in enumerate(entries):
        source = "" if entry.source == "options" else ", stated confidence"
        axes.plot(
            100 * np.array(entry.coverage), 100 * np.array(entry.risk), linestyle=LINES[i % len(LINES)],
            color=COLOURS[i % len(COLOURS)], label=f"{split_name(entry.split)}{source}",
        )  # fmt: skip
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("answered, the most confident first, %")
    axes.set_ylabel("wrong, %")
    axes.grid()
    legend_below(axes)
    return figure


@styled
def confusion_matrix(confusion: Confusion, title: str) -> Figure:
    """Counts of truths (rows) against answers (columns), shaded by the share of the row."""
    rows, columns = len(confusion.truths), len(confusion.said)
    names = [_short(name) for name in confusion.said]
    steep = max(map(len, names)) * columns > 40
    figure, axes = new_figure(1.1 + 0.3 * rows + (0.045 * max(map(len, names)) if steep else 0), title)
    counts = np.array(confusion.counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(counts):
        colour = BLUE if row == column else ORANGE
        corner = (column - 0.48, row - 0.48)
        axes.add_patch(Rectangle(corner, 0.96, 0.96, color=colour, alpha=0.6 * shares[row, column], linewidth=0))
        axes.text(column, row, f"{count:,}" if count else "·", ha="center", va="center", fontsize=8.5)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks(range(columns), names, rotation=40 if steep else 0, ha="right" if steep else "center")
    axes.set_yticks(range(rows), [_short(name) for name in confusion.truths])
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _short(name: str, limit: int = 26) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
