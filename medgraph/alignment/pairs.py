"""Which graphs of a batch are matched to which: view to view, or view to the mean of views.

Letters: G graphs (views: the image and the texts), P pairs, B nodes, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from medgraph.alignment.graph import barycenter, leave_one_out
from medgraph.alignment.losses import same_content

Target = Literal["pairwise", "leave_one_out", "barycenter"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is matched to what: P pairs of graphs.

    Attributes:
        nodes: (G', B, D), the views and their targets, before the encoder.
        left: (P,) rows of ``nodes`` on the left.
        right: (P,) rows on the right.
        positives: (P, B, B) bool, right pairs of nodes.
    """

    nodes: Tensor
    left: list[int]
    right: list[int]
    positives: Tensor


def pair_graphs(views: Tensor, ids: Sequence[Tensor | None], target: Target, both_ways: bool = False) -> Pairs:
    """Choose what is matched to what.

    Args:
        views: (G, B, D), the image first.
        ids: (B,) int64 content ids of every view, None where all contents differ.
        target: every other view, the mean of the other views, or the mean of all views.
        both_ways: add every pair in the other direction.

    Returns:
        The pairs.
    """
    num_views, num_nodes, _ = views.shape
    if target == "pairwise":
        nodes, which = views, list(combinations(range(num_views), 2))
        sources = [(ids[i], ids[j]) for i, j in which]
    else:
        nodes = torch.cat([views, (leave_one_out if target == "leave_one_out" else barycenter)(views)])
        which = [(i, num_views + i) for i in range(num_views)]
        sources = [(content, None) for content in ids]
    same = [same_content(num_nodes, *contents, device=views.device) for contents in sources]
    left, right = ([pair[side] for pair in which] for side in (0, 1))
    if both_ways:
        left, right, same = left + right, right + left, same + same
    return Pairs(nodes, left, right, torch.stack(same))
