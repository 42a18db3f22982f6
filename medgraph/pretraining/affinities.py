"""Affinities between the images of two views: how alike their feature maps are, cell by cell.

Letters: P pairs of graphs, B nodes (images) of a graph, M cells of a feature map, R = √M cells a side, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_positions(boxes: Tensor, flips: Tensor, grid: int) -> Tensor:
    """Find where the cells of crops lie in the images that were cropped.

    Args:
        boxes: (…, 4) float, left, top, right and bottom of the crops in [0, 1] of their images.
        flips: (…) bool, whether a crop was mirrored.
        grid: R.

    Returns:
        (…, R², 2) float, x and y of the centres of the cells, row by row.

    Example:
        >>> cell_positions(torch.tensor([0.0, 0.0, 0.5, 1.0]), torch.tensor(True), 2).tolist()
        [[0.375, 0.25], [0.125, 0.25], [0.375, 0.75], [0.125, 0.75]]
    """
    steps = (torch.arange(grid, device=boxes.device, dtype=boxes.dtype) + 0.5) / grid
    left, top, right, bottom = boxes.unsqueeze(-1).unbind(-2)
    x, y = left + (right - left) * steps, top + (bottom - top) * steps  # (…, R)
    x = torch.where(flips.unsqueeze(-1), x.flip(-1), x)
    shape = (*x.shape, grid)
    return torch.stack([x.unsqueeze(-2).expand(shape), y.unsqueeze(-1).expand(shape)], -1).flatten(-3, -2)


def local_affinity(left: Tensor, right: Tensor, left_positions: Tensor, right_positions: Tensor, best: int) -> Tensor:
    r"""Compare the feature maps of every two images of a pair of graphs.

    Every cell p of one map has a partner by position, the cell m(p) of the other that is nearest in coordinates of the
    image, and one by feature, the cell m'(p) with the largest cosine:

    .. math:: \mathrm{lo}(i, a) = \tfrac12 \big( E_p \cos(q_p, q_{m(p)}) + E_p \cos(q_p, q_{m'(p)}) \big)

    The mean takes the ``best`` pairs, the nearest and the most similar ones (VICRegL, arXiv:2210.01571). The result is
    the mean of both directions, so it stays in [-1, 1]; LVM-Med (arXiv:2306.11925) adds up what is averaged here.

    Args:
        left: (P, B, M, D) float, L2-normalised cells.
        right: (P, B, M, D) float, L2-normalised.
        left_positions: (P, B, M, 2) float, see `cell_positions`.
        right_positions: (P, B, M, 2) float.
        best: pairs that count, at least 1; more than M take all.

    Returns:
        (P, B, B) float in [-1, 1].
    """
    similarity = torch.einsum("pimd,pand->piamn", left, right)
    distance = torch.cdist(
        left_positions.unsqueeze(2), right_positions.unsqueeze(1), compute_mode="donot_use_mm_for_euclid_dist"
    )
    there, back = _one_way(similarity, distance, best), _one_way(similarity.mT, distance.mT, best)
    return (there + back) / 2


def _one_way(similarity: Tensor, distance: Tensor, best: int) -> Tensor:
    """lo(i, a) from tables (P, B, B, M, M) of cosines and of distances between cells."""
    best = min(best, similarity.shape[-1])
    apart, nearest = distance.min(-1)
    by_position = similarity.gather(-1, nearest.unsqueeze(-1)).squeeze(-1)
    by_position = by_position.gather(-1, apart.topk(best, largest=False).indices)
    by_feature = similarity.amax(-1).topk(best).values
    return (by_position.mean(-1) + by_feature.mean(-1)) / 2
