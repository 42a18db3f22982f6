"""Losses on matchings and the relation that says which pairs are right.

Letters: S samples, P problems, B nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def hamming(matching: Tensor, positives: Tensor) -> Tensor:
    r"""Count wrong and missing matches per node.

    .. math:: H(m, T) = \tfrac1B \sum_{ij} m_{ij} (1 - T_{ij}) + \tfrac1B \sum_i (1 - \sum_j m_{ij} T_{ij})

    The Hamming distance of ExGra-Med (arXiv:2410.02615) for T the identity; with duplicates T has more ones, and any of
    them is right.

    Args:
        matching: (S, P, B) int64, -1 for unmatched.
        positives: (P, B, B) bool, True at pairs that are right.

    Returns:
        (S, P) float32 in [0, 2].

    Example:
        >>> hamming(torch.tensor([[[0, -1, 2, 1]]]), torch.eye(4, dtype=torch.bool)[None])
        tensor([[0.7500]])
    """
    right = is_right(matching, positives)
    wrong = (matching >= 0) & ~right
    return (wrong.float() + (~right).float()).mean(-1)


def is_right(matching: Tensor, positives: Tensor) -> Tensor:
    """Tell for every left node whether its match is a positive: (S, P, B) int64 → (S, P, B) bool."""
    table = positives.to(matching.device).expand(len(matching), *positives.shape)
    return table.gather(-1, matching.clamp(min=0).unsqueeze(-1)).squeeze(-1) & (matching >= 0)


def same_content(num_nodes: int, *ids: Tensor | None, device: torch.device | None = None) -> Tensor:
    """Find the pairs that must not count as negatives of each other.

    Two samples that share the image or the text are right matches of one another.

    Args:
        num_nodes: B.
        ids: (B,) int64 content ids of the node sets involved; None where all contents differ.
        device: where to put the result.

    Returns:
        (B, B) bool, symmetric, True on the diagonal.

    Example:
        >>> same_content(3, torch.tensor([7, 8, 7]), None).int()
        tensor([[1, 0, 1],
                [0, 1, 0],
                [1, 0, 1]], dtype=torch.int32)
    """
    same = torch.eye(num_nodes, dtype=torch.bool, device=device)
    for content in ids:
        if content is not None:
            content = content.to(device)
            same = same | (content.unsqueeze(0) == content.unsqueeze(1))
    return same
