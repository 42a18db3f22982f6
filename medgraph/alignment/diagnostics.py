"""Cheap numbers that say what an alignment loss does. All detached.

Letters: P pairs of node sets, B nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from medgraph.alignment.head import AlignmentInput
    from medgraph.alignment.matching import MatchingProblem


def cosine_terms(cosines: Tensor, positives: Tensor) -> dict[str, Tensor]:
    """Summarise tables of cosines.

    Args:
        cosines: (P, B, B) float.
        positives: (P, B, B) bool, right pairs.

    Returns:
        ``match_accuracy``: share of rows whose largest cosine is a right pair; ``cos_diag``: mean cosine of a sample's
        own pair; ``cos_off``: mean cosine of all wrong pairs (zero if there are none).
    """
    cosines = cosines.detach().float()
    best = cosines.argmax(-1, keepdim=True)
    wrong = ~positives
    return {
        "match_accuracy": positives.gather(-1, best).float().mean(),
        "cos_diag": cosines.diagonal(dim1=-2, dim2=-1).mean(),
        "cos_off": torch.where(wrong, cosines, 0.0).sum() / wrong.sum().clamp(min=1),
    }


def match_table(matching: Tensor) -> Tensor:
    """Average matchings.

    Args:
        matching: (P, B) int64, -1 for unmatched.

    Returns:
        (B, B) float: share of the P matchings that give i to j.

    Example:
        >>> match_table(torch.tensor([[0, 1], [0, -1]]))
        tensor([[1.0000, 0.0000],
                [0.0000, 0.5000]])
    """
    chosen = F.one_hot(matching.clamp(min=0), matching.shape[-1]) * (matching >= 0).unsqueeze(-1)
    return chosen.float().mean(0)


def solver_gap(problem: MatchingProblem, matching: Tensor) -> Tensor:
    r"""Measure by how much the right matching is cheaper than the one found.

    .. math:: \frac{\max(0,\, f(m) - f(I))}{|f(I)|}

    averaged over problems. Above zero, wrong matches are the solver's fault, not that of the costs. It is a lower bound
    of the gap to the optimum, and zero where the solver is exact (without edges: ``frank_wolfe`` and ``lap``).

    Args:
        problem: P problems.
        matching: (P, B) int64, what the solver found without noise.

    Returns:
        Scalar ≥ 0.
    """
    from medgraph.alignment.matching import objective

    with torch.no_grad():
        right = objective(problem, torch.arange(matching.shape[-1]).expand_as(matching))
        gap = (objective(problem, matching) - right).clamp(min=0)
        return (gap / right.abs().clamp(min=1e-12)).mean()


def watch_gradients(nodes: AlignmentInput, loss: Tensor) -> dict[str, Tensor]:
    """Have backward measure the gradient that the loss sends to the pooled nodes of every view.

    Args:
        nodes: what the loss was computed from.
        loss: scalar. What it is multiplied by later (weight, accumulation, fp16 scale) does not change the norms.

    Returns:
        A dict that backward fills: view → Frobenius norm of dL/dnodes, for all nodes of this rank. Views without a
        gradient, such as frozen ones, stay out.
    """
    norms: dict[str, Tensor] = {}
    upstream: list[Tensor] = []
    if loss.requires_grad:
        loss.register_hook(upstream.append)
    for name, graph in nodes.graphs().items():
        if graph.pooled.requires_grad:
            graph.pooled.register_hook(lambda g, name=name: norms.update({name: g.float().norm() / upstream[0].abs()}))
    return norms
