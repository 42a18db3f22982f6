"""Graphs over the nodes of a batch: neighbours, edge features, barycenters.

Letters: G graphs (views), B nodes, K neighbours of a node, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def standardize(nodes: Tensor) -> Tensor:
    """Centre every graph and scale its nodes to unit length.

    Features of a language model share a large common offset, so that all raw cosines are close to one; the centred
    cosine tells nodes apart.

    Args:
        nodes: (…, B, D) float.

    Returns:
        (…, B, D), L2-normalised; all zero where a node equals the mean of its graph.
    """
    return F.normalize(nodes - nodes.mean(-2, keepdim=True), dim=-1)


def knn(nodes: Tensor, k: int) -> Tensor:
    """Find the nearest neighbours of every node within its graph, by Euclidean distance and without itself.

    Distances come from differences, not from a Gram matrix: the latter loses all digits when the nodes share an
    offset that is large against their distances, as those of a language model do.

    Args:
        nodes: (G, B, D) float; taken to float32.
        k: neighbours wanted, at least 1.

    Returns:
        (G, B, min(k, B - 1)) int64, nearest first. A graph of one node has none; duplicates are neighbours at distance
        zero.

    Raises:
        ValueError: if k < 1.

    Example:
        >>> knn(torch.tensor([[[0.0], [1.0], [3.0], [7.0]]]), k=1)
        tensor([[[1],
                 [0],
                 [1],
                 [2]]])
    """
    if k < 1:
        raise ValueError(f"a graph needs k >= 1 neighbours, got k={k}")
    x = nodes.detach().float()
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    distances.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    return distances.topk(min(k, x.shape[-2] - 1), largest=False).indices


def gather_nodes(nodes: Tensor, index: Tensor) -> Tensor:
    """Look up node vectors graph by graph.

    Args:
        nodes: (G, B, D).
        index: (G, …) int64 in 0 … B-1.

    Returns:
        (G, …, D).
    """
    num_graphs, num_nodes, dim = nodes.shape
    first = torch.arange(num_graphs, device=nodes.device).view(-1, *[1] * (index.ndim - 1)) * num_nodes
    return nodes.reshape(-1, dim).index_select(0, (index + first).flatten()).view(*index.shape, dim)


def barycenter(views: Tensor) -> Tensor:
    """Average the views of every sample: the graph that ExGra-Med matches every view to.

    It contains each view, so even unrelated views match it (see :func:`leave_one_out`).

    Args:
        views: (G, B, D).

    Returns:
        (G, B, D), the same mean for every view.
    """
    return views.mean(0, keepdim=True).expand_as(views)


def leave_one_out(views: Tensor) -> Tensor:
    """Average, for every view, the other views of the same sample.

    Args:
        views: (G, B, D), G at least 2.

    Returns:
        (G, B, D); row g is the mean of all views but g.

    Raises:
        ValueError: if there is only one view.
    """
    if len(views) < 2:
        raise ValueError("a leave-one-out barycenter needs at least 2 views (the image and one text), got 1")
    return (views.sum(0, keepdim=True) - views) / (len(views) - 1)


def edge_index(neighbors: Tensor) -> Tensor:
    """Write neighbour lists as one PyG edge list over all G·B nodes; every node receives from its neighbours.

    Args:
        neighbors: (G, B, K) int64.

    Returns:
        (2, G·B·K) int64: neighbour (source), node (target), numbered g·B + i.
    """
    num_graphs, num_nodes, k = neighbors.shape
    offset = torch.arange(num_graphs, device=neighbors.device).view(-1, 1, 1) * num_nodes
    target = torch.arange(num_graphs * num_nodes, device=neighbors.device).repeat_interleave(k)
    return torch.stack([(neighbors + offset).flatten(), target])
