r"""The distance between structured graphs that graph alignment minimises, its geodesics and barycenters.

.. math:: d(G, H)^2 = \min_p \; \frac{1-\alpha}{B} \sum_i \|x_i - y_{p(i)}\|^2
    + \frac{\alpha}{B^2} \sum_{ij} \|C_{ij} - D_{p(i) p(j)}\|^2

over permutations p of the nodes. Permutations are isometries of the Euclidean space of all (x, C), and d is the
distance of orbits; so it is a metric on graphs up to isomorphism, with the triangle inequality as it stands, and
straight lines along an optimal p are geodesics of constant speed: Theorems 1 and 2 of ExGra-Med (arXiv:2410.02615),
written with squared differences. Up to constants the sum is the objective of :mod:`medgraph.alignment.matching`.

Letters: B nodes, D node width, M edge width, K graphs, N largest number of edges out of a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.graph import knn
from medgraph.alignment.matching import DenseEdgeCosts, MatchingProblem, Solver, solve

EXACT_NODES = 8  # up to here every permutation is tried


@dataclass(frozen=True, slots=True)
class StructuredGraph:
    """Node features and what connects the nodes.

    Attributes:
        nodes: (B, D) float.
        edges: (B, B, M) float of the same type, row to column; zero where there is no edge.
    """

    nodes: Tensor
    edges: Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.nodes.ndim != 2 or self.edges.ndim != 3 or self.edges.shape[:2] != 2 * self.nodes.shape[:1]:
            raise ValueError(
                f"a graph has nodes (B, D) and edges (B, B, M), got {tuple(self.nodes.shape)} and "
                f"{tuple(self.edges.shape)}"
            )

    @classmethod
    def nearest_neighbors(cls, nodes: Tensor, k: int) -> StructuredGraph:
        """The graph that the heads build: edges are unit vectors from each of the k nearest neighbours.

        Args:
            nodes: (B, D) float.
            k: neighbours of a node; smaller graphs use B - 1.
        """
        nodes = nodes.double()
        present = torch.zeros(len(nodes), len(nodes), 1, dtype=torch.float64)
        present[:, :, 0].scatter_(1, knn(nodes.unsqueeze(0), k)[0], 1.0)
        return cls(nodes, F.normalize(nodes.unsqueeze(1) - nodes, dim=-1) * present)

    def reordered(self, order: Tensor) -> StructuredGraph:
        """The same graph with node ``order[i]`` as node i."""
        return StructuredGraph(self.nodes[order], self.edges[order][:, order])

    def __add__(self, other: StructuredGraph) -> StructuredGraph:
        return StructuredGraph(self.nodes + other.nodes, self.edges + other.edges)

    def __mul__(self, factor: float) -> StructuredGraph:
        return StructuredGraph(factor * self.nodes, factor * self.edges)


def node_mapping(
    left: StructuredGraph, right: StructuredGraph, alpha: float = 0.5, solver: Solver | None = None
) -> Tensor:
    """Find the permutation p that attains the distance.

    Args:
        left: B nodes.
        right: B nodes, of the same widths.
        alpha: weight of the edges, in [0, 1].
        solver: None is ``brute_force`` up to 8 nodes and ``frank_wolfe`` beyond.

    Returns:
        (B,) int64, the right node of every left node. With the default solver the optimum up to 8 nodes, and for any
        number where there are no edges; a local optimum otherwise. Needs (B·N)² numbers.

    Raises:
        ValueError: if the graphs differ in size or width, or α is out of range.
    """
    if left.nodes.shape != right.nodes.shape or left.edges.shape != right.edges.shape:
        raise ValueError(
            f"the distance is between graphs of the same size, got nodes {tuple(left.nodes.shape)} and "
            f"{tuple(right.nodes.shape)}, edges {tuple(left.edges.shape)} and {tuple(right.edges.shape)}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} is outside [0, 1]")
    num_nodes = len(left.nodes)
    unary = (1 - alpha) * num_nodes * _squares(left.nodes, right.nodes)
    unary = unary + alpha * _squares(left.edges.diagonal().T, right.edges.diagonal().T)  # loops
    num_out = max(int(_present(graph).sum(1).max()) for graph in (left, right))
    costs = None
    if num_out and alpha:
        (left_heads, left_edges), (right_heads, right_edges) = (_edge_list(graph, num_out) for graph in (left, right))
        costs = DenseEdgeCosts(left_heads[None], right_heads[None], -2 * alpha * (left_edges @ right_edges.T)[None])
    problem = MatchingProblem(unary[None], costs)
    return solve(problem, solver or ("brute_force" if num_nodes <= EXACT_NODES else "frank_wolfe"))[0]


def sga_distance(
    left: StructuredGraph, right: StructuredGraph, alpha: float = 0.5, solver: Solver | None = None
) -> float:
    """Measure the distance; exact where :func:`node_mapping` is, an upper bound elsewhere.

    Args:
        left: B nodes.
        right: B nodes, of the same widths.
        alpha: weight of the edges, in [0, 1]; a metric strictly inside, blind to edges at 0 and to nodes at 1.
        solver: see :func:`node_mapping`.

    Example:
        >>> arrows = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        >>> path = StructuredGraph(torch.zeros(3, 1), arrows.unsqueeze(2))
        >>> sga_distance(path, path.reordered(torch.tensor([2, 0, 1])))
        0.0
    """
    return _length(left, right.reordered(node_mapping(left, right, alpha, solver)), alpha)


def geodesic(
    left: StructuredGraph, right: StructuredGraph, t: float, alpha: float = 0.5, solver: Solver | None = None
) -> StructuredGraph:
    """Walk from one graph to another at constant speed: the graph at distance t·d from ``left``.

    Args:
        left: the start, B nodes.
        right: the end, B nodes; it is reached up to the order of its nodes, which is that of ``left``.
        t: share of the way, in [0, 1].
        alpha: weight of the edges, in [0, 1].
        solver: see :func:`node_mapping`.
    """
    return left * (1 - t) + right.reordered(node_mapping(left, right, alpha, solver)) * t


def sga_barycenter(
    graphs: Sequence[StructuredGraph], alpha: float = 0.5, solver: Solver | None = None, max_iterations: int = 20
) -> StructuredGraph:
    """Find a graph with a small sum of squared distances to all graphs.

    Map all graphs to the current mean, average, and repeat while that helps; once from every graph, the best is kept. A
    local optimum; the midpoint of a geodesic for two graphs. Unlike :func:`medgraph.alignment.graph.barycenter` it does
    not know which nodes belong together.

    Args:
        graphs: K graphs of B nodes.
        alpha: weight of the edges, in [0, 1].
        solver: see :func:`node_mapping`.
        max_iterations: averages from each start.

    Raises:
        ValueError: if there are no graphs.
    """
    if not graphs:
        raise ValueError("the barycenter of no graphs is undefined; give at least one")
    best, lowest = graphs[0], float("inf")
    for mean in graphs:
        spread = float("inf")
        for _ in range(max_iterations):
            aligned = [graph.reordered(node_mapping(mean, graph, alpha, solver)) for graph in graphs]
            mean = sum(aligned[1:], start=aligned[0]) * (1 / len(graphs))
            before, spread = spread, sum(_length(mean, graph, alpha) ** 2 for graph in aligned)
            if spread < lowest:
                best, lowest = mean, spread
            if spread >= before:
                break
    return best


def _present(graph: StructuredGraph) -> Tensor:
    """Which edges there are, loops left out: (B, B) bool."""
    return (graph.edges != 0).any(2) & ~torch.eye(len(graph.nodes), dtype=torch.bool)


def _edge_list(graph: StructuredGraph, num_out: int) -> tuple[Tensor, Tensor]:
    """Heads (B, N) and vectors (B·N, M) of the edges out of every node, filled up with edges of length zero."""
    heads = _present(graph).int().topk(num_out).indices
    vectors = torch.where(_present(graph).unsqueeze(2), graph.edges, 0.0)
    return heads, torch.take_along_dim(vectors, heads.unsqueeze(2), 1).flatten(0, 1)


def _squares(left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distances, exact also for vectors with a large common offset: (B, D), (B, D) → (B, B)."""
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def _length(left: StructuredGraph, right: StructuredGraph, alpha: float) -> float:
    """Distance of two graphs whose nodes are in corresponding order."""
    num_nodes = len(left.nodes)
    nodes = (left.nodes - right.nodes).square().sum() / num_nodes
    edges = (left.edges - right.edges).square().sum() / num_nodes**2
    return float(((1 - alpha) * nodes + alpha * edges).sqrt())
