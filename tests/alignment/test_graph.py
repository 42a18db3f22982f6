from __future__ import annotations

import pytest
import torch

from medgraph.alignment.graph import barycenter, edge_index, gather_nodes, knn, leave_one_out, standardize


def knn_by_hand(nodes: torch.Tensor, k: int) -> torch.Tensor:
    """Neighbours from float64 differences, one node at a time."""
    rows = []
    for i, node in enumerate(nodes.double()):
        distance = (nodes.double() - node).square().sum(-1)
        distance[i] = torch.inf
        rows.append(distance.argsort(stable=True)[:k])
    return torch.stack(rows)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_knn_is_exact_also_where_nodes_share_a_large_offset(offset):
    nodes = torch.randn(3, 64, 32, generator=torch.Generator().manual_seed(0)) + offset
    expected = torch.stack([knn_by_hand(graph, 5) for graph in nodes])
    assert torch.equal(knn(nodes, 5), expected)


def test_knn_of_duplicates_excludes_the_node_itself():
    nodes = torch.ones(1, 4, 3)
    neighbors = knn(nodes, 2)
    assert neighbors.shape == (1, 4, 2)
    assert not (neighbors == torch.arange(4).view(1, 4, 1)).any()


@pytest.mark.parametrize(("num_nodes", "expected"), [(1, 0), (2, 1), (5, 4), (9, 5)])
def test_knn_shrinks_in_small_batches(num_nodes, expected):
    assert knn(torch.randn(2, num_nodes, 4), 5).shape == (2, num_nodes, expected)


def test_knn_refuses_no_neighbours():
    with pytest.raises(ValueError, match="k >= 1"):
        knn(torch.zeros(1, 3, 2), 0)


def test_knn_follows_a_permutation_of_the_nodes():
    nodes = torch.randn(1, 12, 4)
    order = torch.randperm(12)
    assert torch.equal(order[knn(nodes[:, order], 3)], knn(nodes, 3)[:, order])


def test_barycenters():
    views = torch.randn(3, 5, 4)
    torch.testing.assert_close(barycenter(views)[1], (views[0] + views[1] + views[2]) / 3)
    torch.testing.assert_close(leave_one_out(views)[1], (views[0] + views[2]) / 2)
    with pytest.raises(ValueError, match="at least 2 views"):
        leave_one_out(views[:1])


def test_standardize_is_invariant_to_offset_and_scale():
    nodes = torch.randn(2, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(standardize(nodes), standardize(7 * nodes + 100))
    assert torch.isfinite(standardize(torch.zeros(1, 1, 3))).all()


def test_edge_index_lists_neighbours_of_every_graph():
    neighbors = torch.tensor([[[1], [0]], [[1], [0]]])
    assert edge_index(neighbors).tolist() == [[1, 0, 3, 2], [0, 1, 2, 3]]


def test_gather_nodes():
    nodes = torch.randn(2, 4, 3)
    index = torch.tensor([[[1, 2]], [[0, 3]]])
    torch.testing.assert_close(gather_nodes(nodes, index)[1, 0, 1], nodes[1, 3])
