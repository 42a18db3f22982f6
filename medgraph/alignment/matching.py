r"""The matching problem: a quadratic assignment between two k-NN graphs, and the solvers for it.

.. math:: \min_m \sum_{ij} U_{ij} m_{ij} + \sum_{e=(i,k),\, f=(j,l)} Q_{ef}\, m_{ij} m_{kl}

over one-to-one matchings m. ``Q`` runs over pairs of edges (B·K × B·K), never over pairs of node pairs (B² × B²).

Letters: P problems, S samples, B nodes of a graph, K neighbours, E = B·K edges, D width. Edge e = i·K + a leads from
node i to its a-th neighbour. A matching is a (…, B) int64 array: the right node of every left node, or -1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import permutations
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from medgraph.alignment.clock import solving
from medgraph.alignment.graph import gather_nodes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PairCosts = Callable[[Ints, Ints], NDArray[np.floating]]
Solver = Literal["frank_wolfe", "lap", "sinkhorn", "brute_force"]
TABLE_EDGES = 512  # graphs with at most so many edges get a table of pair costs, which is faster to read
SOLVERS: tuple[str, ...] = get_args(Solver)


class EdgeCosts(Protocol):
    """Costs of matching edge e of the left graph to edge f of the right graph, in each of P problems."""

    @property
    def left(self) -> Tensor:
        """Neighbours in the left graph, (P, B, K) int64."""
        ...

    @property
    def right(self) -> Tensor:
        """Neighbours in the right graph, (P, B, K) int64."""
        ...

    def pair_costs(self, problem: Tensor, e: Tensor, f: Tensor) -> Tensor:
        """Read Q[problem, e, f], differentiably; the three (N,) int64 tensors give (N,) floats."""
        ...

    def reader(self) -> PairCosts:
        """A NumPy function that reads the same entries without gradients, fast for many calls.

        It takes left edges numbered through all problems, problem · E + e, and right edges f, broadcast together.
        """
        ...

    def dense(self) -> DenseEdgeCosts:
        """The same costs as a table."""
        ...


@dataclass(frozen=True, slots=True)
class DenseEdgeCosts:
    """Edge-pair costs as a table: any values, (B·K)² numbers a problem.

    Attributes:
        left: (P, B, K) int64.
        right: (P, B, K) int64.
        costs: (P, B·K, B·K) float.
    """

    left: Tensor
    right: Tensor
    costs: Tensor

    def pair_costs(self, problem: Tensor, e: Tensor, f: Tensor) -> Tensor:
        """See :class:`EdgeCosts`."""
        return self.costs[problem, e, f]

    def reader(self) -> PairCosts:
        """See :class:`EdgeCosts`."""
        costs, num_edges = to_numpy(self.costs).reshape(-1), self.costs.shape[-1]
        return lambda edge, f: costs.take(edge * num_edges + f)

    def dense(self) -> DenseEdgeCosts:
        """See :class:`EdgeCosts`."""
        return self


@dataclass(frozen=True, slots=True)
class CosineEdgeCosts:
    """Edge-pair costs ``-weight · (cos(x_i - x_k, y_j - y_l) - offset)``, computed where they are read.

    For large graphs the solver reads them from the B × B Gram matrix of the nodes: memory grows with B², not (B·K)².

    Attributes:
        left: (P, B, K) int64.
        right: (P, B, K) int64.
        left_nodes: (P, B, D) float.
        right_nodes: (P, B, D) float.
        weight: factor of the edge term, at least 0.
        offset: cosine that is worth nothing.
    """

    left: Tensor
    right: Tensor
    left_nodes: Tensor
    right_nodes: Tensor
    weight: float = 1.0
    offset: float = 0.0

    def pair_costs(self, problem: Tensor, e: Tensor, f: Tensor) -> Tensor:
        """See :class:`EdgeCosts`."""
        left = _edge_vectors(self.left_nodes, self.left, problem, e)
        right = _edge_vectors(self.right_nodes, self.right, problem, f)
        return -self.weight * ((left * right).sum(-1) - self.offset)

    def dense(self) -> DenseEdgeCosts:
        """See :class:`EdgeCosts`."""
        left, right = (
            F.normalize(nodes.unsqueeze(2) - gather_nodes(nodes, neighbors), dim=-1).flatten(1, 2)
            for nodes, neighbors in ((self.left_nodes, self.left), (self.right_nodes, self.right))
        )
        costs = (-self.weight * left) @ right.transpose(-1, -2)  # no further pass over a table of (B·K)² numbers
        if self.offset:
            costs = costs + self.weight * self.offset
        return DenseEdgeCosts(self.left, self.right, costs)

    def reader(self) -> PairCosts:
        """See :class:`EdgeCosts`. Float64, because short edges are differences of large products."""
        if self.left[0].numel() <= TABLE_EDGES:
            return self.dense().reader()
        x, y = (to_numpy(nodes).astype(np.float64) for nodes in (self.left_nodes, self.right_nodes))
        left, right = to_numpy(self.left), to_numpy(self.right)
        num_problems, num_nodes, k = left.shape
        gram = np.matmul(x, y.transpose(0, 2, 1)).reshape(-1)
        left_norm, right_norm = _inverse_edge_lengths(x, left), _inverse_edge_lengths(y, right)
        # Where the rows of the Gram matrix start, and its columns, for tail and head of every edge.
        first_node = np.arange(num_problems)[:, None, None] * num_nodes
        tail = np.broadcast_to(np.arange(num_nodes)[:, None], left.shape)
        row, row_to = (((first_node + node) * num_nodes).reshape(-1) for node in (tail, left))
        col, col_to = tail.reshape(-1), right.reshape(-1)

        first_edge = np.repeat(np.arange(num_problems) * (num_nodes * k), num_nodes * k)

        def read(edge: Ints, f: Ints) -> Floats:
            other = first_edge[edge] + f
            start, end, start_row, end_row = col[other], col_to[other], row[edge], row_to[edge]
            dots = gram.take(start_row + start) - gram.take(start_row + end)
            dots += gram.take(end_row + end) - gram.take(end_row + start)
            return -self.weight * (dots * (left_norm[edge] * right_norm[other]) - self.offset)

        return read


@dataclass(frozen=True, slots=True)
class MatchingProblem:
    """A batch of matching problems with costs to minimise.

    Attributes:
        unary: (P, B, B) float, cost of matching left node i to right node j. With S samples of noise on the same
            graphs, (S·P, B, B): problem g then has the edges of problem g mod P.
        edges: the edge-pair costs of P problems; None for a linear assignment.
        threshold: None for one-to-one matchings. A number allows nodes to stay unmatched at this cost a pair.
    """

    unary: Tensor
    edges: EdgeCosts | None = None
    threshold: float | None = None


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Copy a tensor of any device to a NumPy array, without its gradient."""
    return tensor.detach().cpu().numpy()


def on_host(problem: MatchingProblem, *others: Tensor) -> tuple[Any, ...]:
    """Copy a problem, and tensors that belong to it, to the CPU without their gradient; waits for the device once.

    Returns:
        The problem, and the other tensors.
    """
    named = {} if problem.edges is None else {
        field.name: value for field in fields(problem.edges)  # type: ignore[arg-type]  # all kinds are dataclasses
        if isinstance(value := getattr(problem.edges, field.name), Tensor)
    }  # fmt: skip
    there = [problem.unary, *named.values(), *others]
    unary, *copies = [tensor.detach().to("cpu", non_blocking=True) for tensor in there]
    if problem.unary.is_cuda:
        torch.cuda.current_stream(problem.unary.device).synchronize()
    edges: Any = problem.edges
    if edges is not None:
        edges = replace(edges, **dict(zip(named, copies, strict=False)))
    return replace(problem, unary=unary, edges=edges), *copies[len(named) :]


def solve(problem: MatchingProblem, solver: Solver = "frank_wolfe") -> Tensor:
    """Minimise the matching objective.

    Args:
        problem: P problems of B nodes.
        solver: ``frank_wolfe`` (local optimum with respect to swaps; exact without edges), ``lap`` (ignores the
            edges), ``sinkhorn`` (graduated assignment on the device of the costs, for large batches there) or
            ``brute_force`` (exact, at most 8 nodes).

    Returns:
        (P, B) int64 matchings on the CPU; -1 where a node stays unmatched. Deterministic.

    Raises:
        ValueError: if the solver is unknown or the costs are not finite.
    """
    if solver != "sinkhorn":
        (problem,) = on_host(problem)
    if not torch.isfinite(problem.unary).all():
        raise ValueError(
            "matching costs are not finite; the node embeddings hold inf or nan (look at the learning rate)"
        )
    with solving():
        return _solve(problem, solver)


def _solve(problem: MatchingProblem, solver: Solver) -> Tensor:
    if solver == "sinkhorn":
        from medgraph.alignment.sinkhorn import graduated_assignment

        return graduated_assignment(problem).cpu()
    if solver == "brute_force":
        found = brute_force(problem)
    elif solver == "lap" or problem.edges is None:
        found = lap(unary_costs(problem), partial=problem.threshold is not None)
    elif solver == "frank_wolfe":
        from medgraph.alignment.frank_wolfe import frank_wolfe

        found = frank_wolfe(problem)
    else:
        raise ValueError(f"unknown solver {solver!r}; choose one of {', '.join(SOLVERS)}")
    return torch.from_numpy(found)


def unary_costs(problem: MatchingProblem) -> Floats:
    """Unary costs against the cost of staying unmatched: (P, B, B) float64."""
    return to_numpy(problem.unary).astype(np.float64) - (problem.threshold or 0.0)


def lap(costs: Floats, partial: bool = False) -> Ints:
    """Solve linear assignments exactly.

    Args:
        costs: (P, B, B), finite.
        partial: leave pairs unmatched whose cost is not negative.

    Returns:
        (P, B) int64.
    """
    if partial:
        costs = np.minimum(costs, 0.0)
    found = np.stack([linear_sum_assignment(cost)[1] for cost in costs]).astype(np.int64, copy=False)
    if partial:
        found[np.take_along_axis(costs, found[..., None], -1)[..., 0] >= 0] = -1
    return found


def objective(problem: MatchingProblem, matching: Tensor) -> Tensor:
    """Evaluate the objective, differentiable with respect to the costs.

    Args:
        problem: P problems.
        matching: (P, B) int64, -1 for unmatched.

    Returns:
        (P,) float: cost, where an unmatched node counts zero and ``threshold`` is subtracted from every pair.
    """
    device = problem.unary.device
    matching = matching.to(device)
    unary = problem.unary - (problem.threshold or 0.0)
    paid = unary.gather(2, matching.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    total = (paid * (matching >= 0)).sum(-1)
    if problem.edges is None:
        return total
    which, e, f = matched_edges(to_numpy(problem.edges.left), to_numpy(problem.edges.right), to_numpy(matching))
    costs = problem.edges.pair_costs(
        torch.from_numpy(which % len(problem.edges.left)).to(device),
        torch.from_numpy(e).to(device),
        torch.from_numpy(f).to(device),
    )
    return total.index_add(0, torch.from_numpy(which).to(device), costs.to(total.dtype))


def matched_edges(left: Ints, right: Ints, matching: Ints) -> tuple[Ints, Ints, Ints]:
    """List the edge pairs that a matching pays for: left edge i→k whose image m(i)→m(k) is a right edge.

    Args:
        left: (P, B, K) neighbours.
        right: (P, B, K) neighbours.
        matching: (S·P, B), -1 for unmatched.

    Returns:
        Problem (0 … S·P-1), left edge and right edge of every pair, three (N,) arrays.
    """
    k = left.shape[-1]
    base = np.arange(len(matching)) % len(left)
    heads = matching[np.arange(len(matching))[:, None, None], left[base]]  # (S·P, B, K): image of the neighbour
    image_neighbors = right[base[:, None], np.maximum(matching, 0)]  # (S·P, B, K): neighbours of the image
    hit = heads[..., :, None] == image_neighbors[..., None, :]
    hit &= ((heads >= 0) & (matching >= 0)[..., None])[..., None]
    which, i, a, b = np.nonzero(hit)
    return which, i * k + a, matching[which, i] * k + b


def brute_force(problem: MatchingProblem) -> Ints:
    """Try every matching: the oracle for tests.

    Raises:
        ValueError: if there are more than 8 nodes (6 where nodes may stay unmatched).
    """
    num_problems, num_nodes = problem.unary.shape[:2]
    limit = 8 if problem.threshold is None else 6
    if num_nodes > limit:
        raise ValueError(f"brute force over {num_nodes} nodes is too much, at most {limit}; use solver='frank_wolfe'")
    candidates = all_matchings(num_nodes, partial=problem.threshold is not None)  # (M, B)
    total = np.zeros((num_problems, len(candidates)))
    costs = np.pad(unary_costs(problem), ((0, 0), (0, 0), (0, 1)))  # column -1 is "unmatched"
    total += costs[:, np.arange(num_nodes), candidates].sum(-1)
    if problem.edges is not None:
        left, right, read = to_numpy(problem.edges.left), to_numpy(problem.edges.right), problem.edges.reader()
        for g in range(num_problems):
            base = g % len(left)
            which, e, f = matched_edges(left[base : base + 1], right[base : base + 1], candidates)
            total[g] += np.bincount(which, read(base * left[0].size + e, f), minlength=len(candidates))
    return candidates[total.argmin(1)]


def all_matchings(num_nodes: int, partial: bool = False) -> Ints:
    """Enumerate the matchings of two sets of B nodes: (M, B), -1 for unmatched."""
    if not partial:
        return np.array(list(permutations(range(num_nodes))), dtype=np.int64).reshape(math.factorial(num_nodes), -1)
    rows: list[list[int]] = [[]]
    for _ in range(num_nodes):
        rows = [[*row, j] for row in rows for j in range(-1, num_nodes) if j < 0 or j not in row]
    return np.array(rows, dtype=np.int64)


def _edge_vectors(nodes: Tensor, neighbors: Tensor, problem: Tensor, edge: Tensor) -> Tensor:
    """Unit vectors from the head of an edge to its tail, (N, D)."""
    num_nodes, k = neighbors.shape[1:]
    first, flat = problem * num_nodes, nodes.flatten(0, 1)  # index_select has a much faster backward than indexing
    tail = flat.index_select(0, first + edge // k)
    head = flat.index_select(0, first + neighbors.flatten().index_select(0, first * k + edge))
    return F.normalize(tail - head, dim=-1)


def _inverse_edge_lengths(nodes: Floats, neighbors: Ints) -> Floats:
    """1/‖x_i - x_k‖ of every edge, flat; zero for edges between duplicates, whose direction is undefined."""
    heads = nodes[np.arange(len(nodes))[:, None, None], neighbors]
    length = np.linalg.norm(nodes[:, :, None] - heads, axis=-1).reshape(-1)
    return np.divide(1.0, length, out=np.zeros_like(length), where=length > 1e-7)
