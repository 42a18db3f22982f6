"""The k-NN graphs of a batch, view beside view.

Letters: B nodes, K neighbours, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from medgraph.evaluation.statistics import Floats
from medgraph.report.look import COLOURS, FAINT, INK, MARKS, WIDTH, styled
from medgraph.report.words import percent

Edges = set[tuple[int, int]]


def principal_plane(nodes: ArrayLike) -> Floats:
    """Places of nodes in the plane of their two largest principal components, each stretched to fill [-1, 1].

    Args:
        nodes: (B, D), B at least 2.

    Returns:
        (B, 2).
    """
    centred = np.asarray(nodes, dtype=np.float64)
    centred = centred - centred.mean(0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    places: Floats = (left * scale)[:, :2]
    low, high = places.min(0), places.max(0)
    return (2 * places - low - high) / np.maximum(high - low, 1e-12)


@styled
def draw_graphs(graphs: Mapping[str, ArrayLike], places: Floats, groups: Sequence[str] = ()) -> Figure:
    """Draw the graphs of several views with every node in the same place, edges that all views have in ink.

    Args:
        graphs: by the name of the view, (B, K) neighbours as of `medgraph.alignment.graph.knn`.
        places: (B, 2).
        groups: (B,) names that colours and marks stand for, such as modalities, or none.
    """
    edges = {name: _edges(np.asarray(neighbors)) for name, neighbors in graphs.items()}
    shared = set.intersection(*edges.values())
    figure = Figure(figsize=(WIDTH, 0.65 + WIDTH / len(graphs)), layout="constrained")
    figure.suptitle("Nearest neighbours", x=0.02, ha="left", fontsize=10.5, fontweight="bold")
    panels = figure.subplots(1, len(graphs), squeeze=False)[0]
    for axes, (name, own) in zip(panels, edges.items(), strict=True):
        for lines, colour, width in ((own - shared, FAINT, 0.7), (shared, INK, 1.4)):
            axes.add_collection(
                LineCollection([places[list(edge)] for edge in sorted(lines)], colors=colour, linewidths=width)
            )
        _draw_nodes(axes, places, groups)
        axes.set_title(f"{name}: {percent(len(shared) / len(own), 0)} % shared", fontsize=9)
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
    if any(groups):
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8.5, handletextpad=0.2)
    return figure


def _draw_nodes(axes: Axes, places: Floats, groups: Sequence[str]) -> None:
    names = np.array(list(groups) or [""] * len(places))
    for i, name in enumerate(dict.fromkeys(names.tolist())):
        x, y = places[names == name].T
        axes.plot(x, y, MARKS[i % len(MARKS)], color=COLOURS[i % len(COLOURS)], markersize=5, label=name, zorder=3)


def _edges(neighbors: NDArray[np.int64]) -> Edges:
    """Pairs of nodes of which at least one is a neighbour of the other."""
    return {(min(i, j), max(i, j)) for i, row in enumerate(neighbors.tolist()) for j in row}
