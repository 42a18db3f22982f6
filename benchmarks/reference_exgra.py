"""The official way to compute the ExGra-Med loss, as the reference for speed and gradients.

Written after the description of the released code, not copied: Python loops over edges, one dense problem at a time, a
second solve in the backward pass, everything twice for the two directions. Only the dependence of the gradient on the
upstream scale is mended, so that both can be compared.

Letters: B nodes, K neighbours, E = B·K edges, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch, Data

#: (unary (B, B), pair costs (E, E), left edges (2, E), right edges (2, E)) → 0/1 matching (B, B)
DenseSolver = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def knn_edges(nodes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Edges centre → neighbour and their attributes, one node and one edge at a time."""
    centres, neighbors = [], []
    for i in range(len(nodes)):
        distance = (nodes - nodes[i]).norm(dim=1)
        distance[i] = torch.inf
        near = distance.topk(min(k, len(nodes) - 1), largest=False).indices
        centres.append(torch.full_like(near, i))
        neighbors.append(near)
    edges = torch.stack([torch.cat(centres), torch.cat(neighbors)])
    return edges, edge_attributes(nodes, edges)


def edge_attributes(nodes: Tensor, edges: Tensor) -> Tensor:
    """Difference of the end nodes of every edge, in a loop."""
    return torch.stack([nodes[edges[0, e]] - nodes[edges[1, e]] for e in range(edges.shape[1])])


class DenseMatching(torch.autograd.Function):
    """Black-box differentiation of a solver that takes one dense problem."""

    @staticmethod
    def forward(ctx, unary: Tensor, pairs: Tensor, edges: Tensor, solver: DenseSolver, lam: float):  # noqa: D102
        matching = solver(unary, pairs, edges, edges)
        ctx.save_for_backward(unary, pairs, edges, matching)
        ctx.solver, ctx.lam = solver, lam
        return matching

    @staticmethod
    def backward(ctx, upstream: Tensor):  # noqa: D102
        unary, pairs, edges, matching = ctx.saved_tensors
        target = ctx.solver(unary + ctx.lam * upstream, pairs, edges, edges)

        def paid(m: Tensor) -> Tensor:
            tail, head = edges
            return m[tail][:, tail] * m[head][:, head]

        return (target - matching) / ctx.lam, (paid(target) - paid(matching)) / ctx.lam, None, None, None


def official_loss(
    views: Tensor,
    encode: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    edge_noise: Tensor,
    solver: DenseSolver,
    k: int = 5,
    lam: float = 80.0,
) -> Tensor:
    """Mean Hamming distance of the six matchings between three views and their barycenter.

    Args:
        views: (3, B, D).
        encode: the graph network, (nodes (N, D), edges (2, M)) → (N, D).
        noise: (B, B), shared by all problems.
        edge_noise: (6, E, E).
        solver: see :data:`DenseSolver`.
        k: neighbours.
        lam: λ.

    Returns:
        Scalar.
    """
    mean = (views[0] + views[1] + views[2]) / 3
    problems = [(view, mean) for view in views] + [(mean, view) for view in views]
    losses = []
    for number, (left, right) in enumerate(problems):
        edges, attributes = knn_edges(left, k)
        graphs = [Data(x=left, edge_index=edges, edge_attr=attributes)]
        graphs.append(Data(x=right, edge_index=edges, edge_attr=edge_attributes(right, edges)))
        batch = Batch.from_data_list(graphs)
        x, y = F.normalize(encode(batch.x, batch.edge_index), dim=-1).chunk(2)
        left_edges = F.normalize(x[edges[0]] - x[edges[1]], dim=-1)
        right_edges = F.normalize(y[edges[0]] - y[edges[1]], dim=-1)
        unary = -(x @ y.T + noise - 0.5)
        pairs = -0.5 * (left_edges @ right_edges.T + edge_noise[number] - 0.5)
        matching = DenseMatching.apply(unary, pairs, edges, solver, lam)
        identity = torch.eye(len(left))
        losses.append((matching * (1 - identity) + (1 - matching) * identity).mean(0).sum())
    return torch.stack(losses).mean()


def rrwm_solver(unary: Tensor, pairs: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Reweighted random walks on the dense B² × B² affinity, then the Hungarian method, from pygmtools."""
    import pygmtools

    num_nodes = len(unary)
    affinity = dense_affinity(unary, pairs, left, right)
    soft = pygmtools.rrwm(affinity, num_nodes, num_nodes, backend="pytorch")
    return pygmtools.hungarian(soft, backend="pytorch").float()


def dense_affinity(unary: Tensor, pairs: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Write the costs as a non-negative affinity matrix; row j·B + i stands for left node i and right node j."""
    num_nodes = len(unary)
    affinity = torch.zeros(num_nodes**2, num_nodes**2)
    rows = right[0][None, :] * num_nodes + left[0][:, None]
    columns = right[1][None, :] * num_nodes + left[1][:, None]
    affinity.index_put_((rows, columns), F.relu(-pairs), accumulate=True)
    affinity.diagonal().copy_(F.relu(-unary).T.reshape(-1))
    return affinity


def one_by_one_solver(unary: Tensor, pairs: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The solver of medgraph on one dense problem, nodes may stay unmatched at cost 0."""
    from medgraph.alignment.matching import DenseEdgeCosts, MatchingProblem, solve

    neighbors = (edges[1].view(1, len(unary), -1) for edges in (left, right))
    problem = MatchingProblem(unary[None], DenseEdgeCosts(*neighbors, pairs[None]), threshold=0.0)
    matching = solve(problem)[0]
    return F.one_hot(matching + 1, len(unary) + 1)[:, 1:].float()
