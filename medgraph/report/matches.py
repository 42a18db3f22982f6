"""The picture of the matches: which image an alignment head gives to which text.

Letters: N samples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from medgraph.report.look import BLUE, FAINT, ORANGE, WIDTH, styled
from medgraph.report.page import Picture, picture
from medgraph.report.words import percent


@dataclass(frozen=True, slots=True)
class MatchTable:
    """Matches of one training batch.

    Attributes:
        name: what stands above it, such as the step of the stage.
        table: (N, N) float in [0, 1], how much image i is matched to the text of sample j.
        right: (N, N) bool, pairs of the same sample or the same content.
        groups: modality of every sample; empty texts where unknown.
    """

    name: str
    table: NDArray[np.float64]
    right: NDArray[np.bool_]
    groups: list[str]

    @classmethod
    def of(cls, name: str, table: ArrayLike, right: ArrayLike, groups: Sequence[str] = ()) -> MatchTable:
        """Put the samples in the order of their groups.

        Args:
            name: what stands above it.
            table: (N, N), such as `medgraph.alignment.head.AlignmentOutput.matches`.
            right: (N, N).
            groups: (N,) names, or none.
        """
        names = list(groups) or [""] * len(np.asarray(table))
        order = np.argsort(names, kind="stable")
        sorted_table, sorted_right = (np.asarray(square)[np.ix_(order, order)] for square in (table, right))
        return cls(name, sorted_table, sorted_right.astype(bool), [names[i] for i in order])

    @property
    def share_right(self) -> float:
        """Share of the images' matches that are right."""
        return float((self.table * self.right).sum() / len(self.table))


def read_matches(path: Path) -> dict[str, list[MatchTable]]:
    """Read ``matches.json``: the first and the last table of every stage, samples in the order of their groups."""
    stages = {}
    for stage, entries in json.loads(path.read_text(encoding="utf-8")).items():
        stages[stage] = [
            MatchTable.of(f"step {entry['step']}", entry["table"], entry["right"], entry["modality"])
            for name in ("first", "last")
            if (entry := entries.get(name))
        ]
    return stages


def match_pictures(folder: Path) -> list[Picture]:
    """One picture for every stage that aligned, from the ``matches.json`` of a run; none where it is absent."""
    path = folder / "matches.json"
    if not path.exists():
        return []
    pictures = []
    for stage, tables in read_matches(path).items():
        steps = " and ".join(table.name for table in tables)
        caption = (
            f"{stage}, matches of a training batch at {steps}: images in rows, texts in columns, sorted by modality. "
            "Blue is right (the diagonal, and samples with the same image or text), orange is wrong; the stronger, the "
            "more of the text views agree. Empty rows: unmatched, or matched outside the picture."
        )
        pictures.append(picture(draw_matches(tables, stage), caption))
    return pictures


@styled
def draw_matches(tables: Sequence[MatchTable], stage: str, line: str = FAINT) -> Figure:
    """Draw one or two tables side by side: a square for every pair that is matched.

    Args:
        tables: of a stage.
        stage: its name.
        line: colour of frames; pictures outside a page, where `FAINT` has no meaning, need one of their own.
    """
    figure = Figure(figsize=(WIDTH, 2.3 if len(tables) > 1 else 3.6), layout="constrained")
    figure.suptitle(f"Matches of images and texts, {stage}", x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    for axes, table, side in zip(
        figure.subplots(1, len(tables), squeeze=False)[0], tables, ("left", "right"), strict=False
    ):
        _draw_table(axes, table, line)
        axes.yaxis.set_ticks_position(side)
    return figure


def _draw_table(axes: Axes, table: MatchTable, line: str) -> None:
    size = len(table.table)
    cells = list(zip(*np.nonzero(table.table), strict=True))
    colours = [to_rgba(BLUE if table.right[cell] else ORANGE, alpha=float(table.table[cell])) for cell in cells]
    squares = [Rectangle((j, i), 1, 1) for i, j in cells]
    axes.add_collection(PatchCollection(squares, facecolors=colours, edgecolors="none"))
    groups = [(name, len(list(members))) for name, members in groupby(table.groups)]
    ends = np.cumsum([count for _, count in groups])
    for end in ends[:-1]:
        axes.axhline(end, color=line, linewidth=0.6)
        axes.axvline(end, color=line, linewidth=0.6)
    named = [(end - count / 2, name) for end, (name, count) in zip(ends, groups, strict=True) if count > 0.05 * size]
    axes.set_yticks([middle for middle, _ in named], [name for _, name in named], fontsize=7.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="texts")
    axes.set_title(f"{table.name}: {percent(table.share_right)} % right", fontsize=9)
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=line)
