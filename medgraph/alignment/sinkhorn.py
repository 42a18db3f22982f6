"""Soft matching on the device: Sinkhorn scaling, graduated assignment, and greedy rounding.

Batched torch operations with fixed iteration counts: no copy to the host before the result, and differentiable.

Letters: S samples, P problems, B nodes, K neighbours, E = B·K edges.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.graph import gather_nodes
from medgraph.alignment.matching import CosineEdgeCosts, EdgeCosts, MatchingProblem

MIN_EDGE = 1e-4  # shorter edges, between near-duplicates, have no direction in float32


def sinkhorn(scores: Tensor, iterations: int = 20, partial: bool = False) -> Tensor:
    r"""Scale exp(scores) to row and column sums of one, in the log domain.

    .. math:: X = \arg\max_X \langle s, X \rangle + \text{entropy}(X), \quad X 1 = 1,\; X^\top 1 = 1

    Cuturi, NeurIPS 2013.

    Args:
        scores: (…, B, B) float.
        iterations: scalings of columns and rows, at least 1; the last one is over the rows.
        partial: nodes may stay unmatched, at score zero; sums are then at most one.

    Returns:
        (…, B, B) logarithm of the soft matching.

    Example:
        >>> sinkhorn(torch.tensor([[0.0, 3.0], [4.0, 7.0]])).exp()
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    return _scale(scores, torch.zeros_like(scores[..., :1]), iterations, partial)[0]


def _scale(scores: Tensor, rows: Tensor, iterations: int, partial: bool) -> tuple[Tensor, Tensor]:
    """Sinkhorn from given row potentials (…, B, 1): the logarithm of the soft matching, and the new potentials.

    Unmatched mass sits in a dummy row and column of score zero that take any number of nodes.
    """
    for _ in range(iterations):
        columns = scores + rows
        columns = -(F.pad(columns, (0, 0, 0, 1)) if partial else columns).logsumexp(-2, keepdim=True)
        rows = scores + columns
        rows = -(F.pad(rows, (0, 1)) if partial else rows).logsumexp(-1, keepdim=True)
    return scores + rows + columns, rows


def soft_match(problem: MatchingProblem, temperature: float = 1.0, steps: int = 5, iterations: int = 20) -> Tensor:
    """Match softly at one temperature: the differentiable counterpart of a solver.

    With edges, the fixed point of x = sinkhorn(-(U + Hx) / temperature) is approached from the unary costs.

    Args:
        problem: P problems (or S·P with noise).
        temperature: of the entropy, in the unit of the costs.
        steps: fixed-point steps where there are edges.
        iterations: Sinkhorn iterations a step.

    Returns:
        (P, B, B) float, logarithm of the soft matching.
    """
    partial = problem.threshold is not None
    unary = problem.unary - (problem.threshold or 0.0)
    plan = sinkhorn(-unary / temperature, iterations, partial)
    if problem.edges is None:
        return plan
    for _ in range(steps):
        gradient = unary + edge_gradient(problem.edges, plan.exp())
        plan = sinkhorn(-gradient / temperature, iterations, partial)
    return plan


@torch.no_grad()
def graduated_assignment(problem: MatchingProblem, steps: int = 20, iterations: int = 15) -> Tensor:
    """Match while the temperature falls, then round greedily (Gold & Rangarajan, PAMI 1996).

    Args:
        problem: P problems.
        steps: temperatures, from the spread of the unary costs down to a fiftieth of it.
        iterations: Sinkhorn iterations a step.

    Returns:
        (P, B) int64 matchings on the device of the costs.
    """
    partial = problem.threshold is not None
    unary = problem.unary - (problem.threshold or 0.0)
    spread = unary.std((1, 2), keepdim=True).clamp(min=1e-6) if unary.shape[1] > 1 else torch.ones_like(unary)
    gradient, soft, potential = unary, unary, torch.zeros_like(unary[..., :1])
    for factor in torch.logspace(0, -1.7, steps).tolist():
        temperature = factor * spread
        plan, rows = _scale(-gradient / temperature, potential / temperature, iterations, partial)
        soft, potential = plan.exp(), rows * temperature
        gradient = unary if problem.edges is None else unary + edge_gradient(problem.edges, soft)
    return round_greedily(soft, partial)


def round_greedily(soft: Tensor, partial: bool = False) -> Tensor:
    """Take the largest entry, strike its row and column, and so on: B steps on the device.

    Args:
        soft: (P, B, B) float, at least 0.
        partial: leave a node unmatched where that has more mass, one minus the sum of its row, than its match.

    Returns:
        (P, B) int64, -1 for unmatched.
    """
    num_problems, num_nodes, _ = soft.shape
    left, unmatched = soft.clone(), 1 - soft.sum(-1)
    matching = torch.full((num_problems, num_nodes), -1, device=soft.device)
    for _ in range(num_nodes):
        value, cell = left.flatten(1).max(1)
        row, column = (cell // num_nodes).unsqueeze(1), (cell % num_nodes).unsqueeze(1)
        chosen = torch.where(value.unsqueeze(1) < unmatched.gather(1, row), -1, column) if partial else column
        matching.scatter_(1, row, chosen)
        left.scatter_(1, row.unsqueeze(2).expand(-1, -1, num_nodes), -1.0)
        left.scatter_(2, column.unsqueeze(1).expand(-1, num_nodes, -1), -1.0)
    return matching


def edge_gradient(edges: EdgeCosts, x: Tensor) -> Tensor:
    """Apply H, the gradient of the edge term: differentiable in the costs and in x.

    Args:
        edges: edge costs of P problems.
        x: (S·P, B, B) soft matchings.

    Returns:
        (S·P, B, B).
    """
    by_sample = x.unflatten(0, (-1, len(edges.left)))
    apply = _cosine_gradient if isinstance(edges, CosineEdgeCosts) else _dense_gradient
    return apply(edges, by_sample).flatten(0, 1)  # type: ignore[arg-type]


def _cosine_gradient(edges: CosineEdgeCosts, x: Tensor) -> Tensor:
    """Node form, B × B products only: <x_i - x_k, y_j - y_l> is a sum of four entries of the Gram matrix."""
    gram = edges.left_nodes @ edges.right_nodes.transpose(-1, -2)
    a = _adjacency(edges.left, _inverse_lengths(edges.left_nodes, edges.left))
    b = _adjacency(edges.right, _inverse_lengths(edges.right_nodes, edges.right))
    at, bt = a.transpose(-1, -2), b.transpose(-1, -2)
    gx, ax, xb, atx, xbt = gram * x, a @ x, x @ b, at @ x, x @ bt
    cosines = (
        gram * (ax @ bt) + at @ gx @ b + gram * (atx @ b) + a @ gx @ bt
        - (gram * ax) @ bt - at @ (gram * xb) - a @ (gram * xbt) - (gram * atx) @ b
    )  # fmt: skip
    if edges.offset:
        a, b = (_adjacency(near, torch.ones_like(near, dtype=x.dtype)) for near in (edges.left, edges.right))
        cosines = cosines - edges.offset * (a @ x @ b.transpose(-1, -2) + a.transpose(-1, -2) @ x @ b)
    return -edges.weight * cosines


def _inverse_lengths(nodes: Tensor, neighbors: Tensor) -> Tensor:
    """1/‖x_i - x_k‖ of every edge, zero for edges too short to have a direction: (P, B, K)."""
    length = (nodes.unsqueeze(2) - gather_nodes(nodes, neighbors)).norm(dim=-1)
    return torch.where(length > MIN_EDGE, 1 / length.clamp(min=MIN_EDGE), 0.0)


def _adjacency(neighbors: Tensor, values: Tensor) -> Tensor:
    """Write the values of all edges as a matrix: (P, B, K) → (P, B, B)."""
    table = values.new_zeros(*neighbors.shape[:2], neighbors.shape[1])
    return table.scatter(2, neighbors, values)


def _dense_gradient(edges: EdgeCosts, x: Tensor) -> Tensor:
    """Edge form: read x at the ends of all edge pairs, weight, and add up at the other ends."""
    table = edges.dense()
    num_problems, num_nodes, k = table.left.shape
    tails = torch.arange(num_nodes, device=x.device).repeat_interleave(k).expand(num_problems, -1)
    left, right = table.left.flatten(1), table.right.flatten(1)

    def cells(rows: Tensor, columns: Tensor) -> Tensor:
        return (rows.unsqueeze(2) * num_nodes + columns.unsqueeze(1)).flatten(1).expand(len(x), -1, -1)

    flat, costs = x.flatten(2), table.costs.flatten(1)
    total = torch.zeros_like(flat)
    tail_cells, head_cells = cells(tails, tails), cells(left, right)
    total = total.scatter_add(2, tail_cells, costs * flat.gather(2, head_cells))
    total = total.scatter_add(2, head_cells, costs * flat.gather(2, tail_cells))
    return total.view_as(x)
