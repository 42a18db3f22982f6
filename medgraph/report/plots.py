"""The figures of a run and of a study; intervals always drawn, the number of questions always said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from medgraph.evaluation.results import Results
from medgraph.report.look import (
    BLUE,
    COLOURS,
    FAINT,
    INK,
    LINES,
    MARKS,
    ORANGE,
    SKY,
    draw_interval,
    label_rows,
    legend_below,
    new_figure,
    styled,
)
from medgraph.report.words import HasEnds, control_name, percent, split_name

Curve = Sequence[tuple[float, float]]
"""(step, value) pairs in order of the steps."""

_ROW = 0.34
_SMOOTH_FROM = 60


@styled
def accuracy_bars(results: Results) -> Figure:
    """Bars with intervals: every split, the model and its controls, with the levels that need no image."""
    entries = [entry for split in results.splits for entry in (results.get(split), *results.controls(split))]
    figure, axes = new_figure(1.0 + 0.4 * len(entries), "Accuracy, %")
    labels = []
    for row, entry in enumerate(entries):
        model = entry.control == "none"
        shown, value = entry.overall.interval, 100 * entry.overall.accuracy
        axes.barh(row, value, height=0.62, color=BLUE if model else SKY, alpha=0.85 if model else 0.45)
        axes.errorbar(
            value, row, xerr=[[max(0.0, value - 100 * shown.low)], [max(0.0, 100 * shown.high - value)]],
            color=INK, capsize=3, linewidth=1.3, capthick=1.3,
        )  # fmt: skip
        for level, style in ((entry.overall.chance, ":"), (entry.overall.constant, "--")):
            axes.plot([100 * level] * 2, [row - 0.42, row + 0.42], style, color=ORANGE, linewidth=1.8)
        axes.text(100 * shown.high + 1.5, row, percent(entry.overall.accuracy), va="center", fontsize=9)
        labels.append(split_name(entry.split) if model else control_name(entry.control))
    label_rows(axes, labels)
    for tick, entry in zip(axes.get_yticklabels(), entries, strict=True):
        tick.set_fontweight("bold" if entry.control == "none" else "normal")
    axes.plot([], [], ":", color=ORANGE, label="chance")
    axes.plot([], [], "--", color=ORANGE, label="best constant answer")
    legend_below(axes)
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x")
    return figure


@styled
def table_dots(results: Results, table: str, title: str) -> Figure:
    """Accuracy of the model for every value of a table (question type, modality …), splits side by side."""
    splits = results.splits
    tables = [results.get(split).tables[table] for split in splits]
    values = sorted({value for rows in tables for value in rows})
    figure, axes = new_figure(0.95 + _ROW * len(values) * (1 + 0.25 * (len(splits) - 1)), title)
    offsets = np.linspace(-0.17, 0.17, len(splits)) if len(splits) > 1 else np.zeros(1)
    for rows, colour, mark, offset in zip(tables, COLOURS, MARKS, offsets, strict=False):
        for position, value in enumerate(values):
            if value in rows:
                row = rows[value]
                y = position + float(offset)
                draw_interval(axes, row.accuracy, row.interval, y, colour, mark=mark)
                axes.plot([100 * row.chance] * 2, [y - 0.13, y + 0.13], color=INK, linewidth=1, alpha=0.7)
    sizes = {value: " + ".join(f"{rows[value].n:,}" for rows in tables if value in rows) for value in values}
    label_rows(axes, [f"{value}  ({sizes[value]})" for value in values])
    for split, colour, mark in zip(splits, COLOURS, MARKS, strict=False):
        axes.plot([], [], mark, color=colour, label=split_name(split))
    if len(splits) > 1:
        legend_below(axes)
    axes.set_xlim(-1, 101)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x")
    return figure


@styled
def training_curves(curves: Mapping[str, Curve], title: str, stages: Mapping[str, float]) -> Figure:
    """Logged values over optimiser steps, one colour and dash a series; long series also smoothed, stages marked."""
    figure, axes = new_figure(2.6, title)
    for (name, curve), (colour, line) in zip(curves.items(), _cycle(len(curves)), strict=True):
        steps, values = np.array(curve).T
        if len(values) < _SMOOTH_FROM:
            axes.plot(steps, values, color=colour, linestyle=line, label=name)
            continue
        axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
        window = len(values) // 20
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        place = steps[window // 2 : window // 2 + len(smooth)]
        axes.plot(place, smooth, color=colour, linestyle=line, label=name)
    for stage, step in stages.items():
        axes.axvline(step, color=FAINT, linewidth=0.8)
        axes.text(step, 1.01, f" {stage}", transform=axes.get_xaxis_transform(), fontsize=8, alpha=0.8)
    axes.set_xlabel("optimiser step")
    axes.grid(axis="y")
    legend_below(axes)
    return figure


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a forest plot; shares, which are drawn in per cent or points.

    Attributes:
        label: text on the left.
        value: the dot.
        interval: the line.
        note: text on the right, such as the number of questions or seeds.
        highlight: filled dot; others are open.
    """

    label: str
    value: float
    interval: HasEnds
    note: str = ""
    highlight: bool = True


@styled
def forest(rows: Sequence[ForestRow], title: str, zero: float | None = None, colour: str = BLUE) -> Figure:
    """Values with intervals, one a line, and a vertical line at the value that means no difference."""
    figure, axes = new_figure(0.7 + _ROW * len(rows), title)
    for position, row in enumerate(rows):
        draw_interval(axes, row.value, row.interval, position, colour, row.highlight)
        axes.text(1.02, position, row.note, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    label_rows(axes, [row.label for row in rows])
    if zero is not None:
        axes.axvline(zero, color=INK, linewidth=1)
    axes.margins(x=0.08)
    axes.grid(axis="x")
    return figure


@styled
def seed_strip(values: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Accuracy in % of every seed as a dot and of their mean as an upright bar, one line an arm."""
    figure, axes = new_figure(0.7 + _ROW * len(values), title)
    for position, accuracies in enumerate(values.values()):
        shown = 100 * np.array(accuracies)
        axes.plot(shown, [position] * len(shown), "o", color=BLUE, markersize=5, alpha=0.6, markeredgewidth=0)
        axes.plot([shown.mean()] * 2, [position - 0.25, position + 0.25], color=INK, linewidth=2)
    label_rows(axes, list(values))
    axes.margins(x=0.08)
    axes.grid(axis="x")
    return figure


@styled
def arm_curves(curves: Mapping[str, Sequence[Curve]], title: str) -> Figure:
    """Validation curves of the arms of a study: every seed faint, the mean over common steps strong."""
    figure, axes = new_figure(2.9, title)
    for (arm, seeds), (colour, line) in zip(curves.items(), _cycle(len(curves)), strict=True):
        for curve in seeds:
            axes.plot(*np.array(curve).T, color=colour, linewidth=0.7, alpha=0.35)
        common = sorted(set.intersection(*({step for step, _ in curve} for curve in seeds)))
        means = [float(np.mean([dict(curve)[step] for curve in seeds])) for step in common]
        axes.plot(common, means, color=colour, linestyle=line, label=arm)
    axes.set_xlabel("optimiser step")
    axes.grid(axis="y")
    legend_below(axes)
    return figure


@styled
def sweep(curves: Mapping[str, Mapping[float, Sequence[float]]], title: str, label: str) -> Figure:
    """Repeated measurements over a setting on a logarithmic axis: means with 95 % t intervals.

    Args:
        curves: by name, the measurements at every value of the setting, in the units of the axis.
        title: what was measured.
        label: the setting.
    """
    from scipy import stats

    figure, axes = new_figure(2.6, title)
    for (name, points), colour, mark in zip(curves.items(), COLOURS, MARKS, strict=False):
        means = np.array([np.mean(values) for values in points.values()])
        half = np.array([stats.sem(v) * stats.t.ppf(0.975, len(v) - 1) if len(v) > 1 else 0 for v in points.values()])
        axes.errorbar(list(points), means, yerr=half, marker=mark, color=colour, markersize=5, capsize=2, label=name)
    settings = sorted({value for points in curves.values() for value in points})
    axes.set_xscale("log")
    axes.set_xticks(settings, [f"{value:g}" for value in settings])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(axis="y")
    legend_below(axes, columns=3)
    return figure


def _cycle(count: int) -> list[tuple[str, Any]]:
    """Colours and dashes of so many lines; where colours come again, dashes are others."""
    rounds = [(i, i // len(COLOURS)) for i in range(count)]
    return [(COLOURS[i % len(COLOURS)], LINES[(i + turn) % len(LINES)]) for i, turn in rounds]
