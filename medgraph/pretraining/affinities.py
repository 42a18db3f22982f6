"""Affinities between the images of two views: how alike their feature maps are, cell by cell.

Letters: P pairs of graphs, B nodes (images) of a graph, M cells of a feature map, R = √M cells a side, D width.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def oriented_boxes(boxes: Tensor, flips: Tensor) -> Tensor:
    """Find where the first and the last cell of feature maps lie in the images that were cropped.

    Args:
        boxes: (…, 4) float, left, top, right and bottom of the crops in [0, 1] of their images.
        flips: (…) bool, whether a crop was mirrored.

    Returns:
        (…, 4) float, the boxes with left and right exchanged where mirrored: x and y where the first cell begins, and
        where the last one ends.

    Example:
        >>> oriented_boxes(torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.tensor(True)).tolist()
        [0.5, 0.25, 0.0, 1.0]
    """
    return torch.where(flips.unsqueeze(-1), boxes[..., [2, 1, 0, 3]], boxes)


def local_affinity(left: Tensor, left_boxes: Tensor, right: Tensor, right_boxes: Tensor, best: int) -> Tensor:
    r"""Compare the feature maps of every two images of a pair of graphs.

    Every cell p of one map has a partner by position, the cell m(p) of the other that is nearest in coordinates of the
    image, and one by feature, the cell m'(p) with the largest cosine:

    .. math:: \mathrm{lo}(i, a) = \tfrac12 \big( E_p \cos(q_p, q_{m(p)}) + E_p \cos(q_p, q_{m'(p)}) \big)

    The mean takes the ``best`` pairs, the nearest and the most similar ones (VICRegL, arXiv:2210.01571). The result is
    the mean of both directions, so it stays in [-1, 1]; LVM-Med (arXiv:2306.11925) adds up what is averaged here.

    A matching sends a gradient to few of the B² pairs of images. Backward looks at these and no others.

    Args:
        left: (P, B, M, D) float, L2-normalised cells.
        left_boxes: (P, B, 4) float, see `oriented_boxes`.
        right: (P, B, M, D) float, L2-normalised.
        right_boxes: (P, B, 4) float.
        best: pairs that count, at least 1; more than M take all.

    Returns:
        (P, B, B) float in [-1, 1], differentiable once.
    """
    table: Tensor = _LocalAffinity.apply(left, left_boxes, right, right_boxes, best)
    return table


class _LocalAffinity(torch.autograd.Function):
    """See `local_affinity`."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, left_boxes: Tensor, right: Tensor, right_boxes: Tensor, best: int) -> Tensor:
        """Compare all pairs of images."""
        num_pairs, num_nodes, num_cells, _ = left.shape
        # Cells before nodes, so that maxima over cells run along rows of memory.
        first, second = (cells.transpose(1, 2).flatten(1, 2) for cells in (left, right))  # (P, M·B, D)
        table = (first @ second.mT).view(num_pairs, num_cells, num_nodes, num_cells, num_nodes)
        similarity = table.permute(0, 2, 4, 1, 3)
        boxes, others = left_boxes.unsqueeze(2), right_boxes.unsqueeze(1)
        there, back = _nearest_cells(boxes, others, num_cells, best), _nearest_cells(others, boxes, num_cells, best)
        ctx.save_for_backward(left, right, *there, *back)
        ctx.best = best
        return (_one_way(similarity, *there, best) + _one_way(similarity.mT, *back, best)) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Weigh the pairs of cells of the pairs of images that have a gradient."""
        left, right, *partners = ctx.saved_tensors
        num_nodes = left.shape[1]
        found = gradients[0].flatten().nonzero().squeeze(-1)
        i = found // num_nodes
        a = i // num_nodes * num_nodes + found % num_nodes
        first, second = (cells.flatten(0, 1).index_select(0, which) for cells, which in ((left, i), (right, a)))
        nearest, closest, nearest_back, closest_back = (
            cells.flatten(0, 2).index_select(0, found) for cells in partners
        )
        similarity = first @ second.mT
        weights = _weights(similarity, nearest, closest, ctx.best)
        weights += _weights(similarity.mT, nearest_back, closest_back, ctx.best).mT
        weights *= gradients[0].flatten()[found].view(-1, 1, 1) / 2
        to_left, to_right = (
            torch.zeros_like(cells).flatten(0, 1).index_add_(0, which, gradient).view_as(cells)
            for cells, which, gradient in ((left, i, weights @ second), (right, a, weights.mT @ first))
        )
        return to_left, None, to_right, None, None


def _one_way(similarity: Tensor, nearest: Tensor, closest: Tensor, best: int) -> Tensor:
    """Compute lo of the maps in the rows of (…, M, M) cosines to those in the columns: (…)."""
    by_position = similarity.gather(-1, nearest.unsqueeze(-1)).squeeze(-1)
    by_feature = reduce(torch.maximum, similarity.unbind(-1))  # five times as fast as amax along a dimension like this
    if best < similarity.shape[-1]:
        by_position = by_position.gather(-1, closest)
        by_feature = by_feature.topk(best, sorted=False).values
    return (by_position.mean(-1) + by_feature.mean(-1)) / 2


def _weights(similarity: Tensor, nearest: Tensor, closest: Tensor, best: int) -> Tensor:
    """Find by which weights `_one_way` is a sum of the (N, M, M) cosines: of that shape, with sum 1 each."""
    best = min(best, similarity.shape[-1])
    most, most_similar = similarity.max(-1)
    weights = torch.zeros_like(similarity)
    for partner, chosen in ((nearest, closest), (most_similar, most.topk(best, sorted=False).indices)):
        share = torch.zeros_like(most).scatter_(-1, chosen, 0.5 / best)
        weights.scatter_add_(-1, partner.unsqueeze(-1), share.unsqueeze(-1))
    return weights


def _nearest_cells(boxes: Tensor, others: Tensor, num_cells: int, best: int) -> tuple[Tensor, Tensor]:
    """Find the partners by position.

    Args:
        boxes: (…, 4) oriented boxes of maps.
        others: (…, 4) those of the maps that they are compared with.
        num_cells: M.
        best: pairs that count.

    Returns:
        The cell of the other map that is nearest to each cell, (…, M) int64; and the ``best`` cells whose partner is
        nearest, (…, min(best, M)) int64.
    """
    grid = math.isqrt(num_cells)
    start, end, other_start, other_end = (
        corner.unsqueeze(-1) for box in (boxes, others) for corner in box.split(2, dim=-1)
    )  # (…, 2, 1)
    # Both maps are grids, so that the nearest column and the nearest row are found apart.
    steps = (torch.arange(grid, device=boxes.device, dtype=boxes.dtype) + 0.5) / grid
    side = (other_end - other_start) / grid
    centres = start + (end - start) * steps - other_start  # (…, 2, R)
    place = (centres / side).floor_().clamp_(0, grid - 1)
    column, row = place.unbind(-2)
    nearest = ((row * grid).unsqueeze(-1) + column.unsqueeze(-2)).flatten(-2).long()
    if best >= num_cells:
        return nearest, torch.arange(num_cells, device=boxes.device).expand_as(nearest)
    x_gap, y_gap = (centres - side * (place + 0.5)).square().unbind(-2)
    distance = (y_gap.unsqueeze(-1) + x_gap.unsqueeze(-2)).flatten(-2)
    return nearest, distance.topk(best, largest=False, sorted=False).indices
