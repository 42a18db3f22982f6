from __future__ import annotations

from functools import partial

import pytest
import torch
from torch_geometric.nn import GCNConv, GraphConv

from medgraph.alignment.gnn import LAYERS, GraphEncoder, build_layer
from medgraph.alignment.graph import knn

SPARSE = {"gcn": GCNConv, "graph_max": partial(GraphConv, aggr="max"), "graph_mean": partial(GraphConv, aggr="mean")}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_batch_of_graphs_equals_the_sparse_pyg_layers_on_each_graph(layer, reverse):
    torch.manual_seed(0)
    encoder = GraphEncoder(6, layer, residual=False, reverse=reverse)
    first, second = encoder.first, encoder.second
    if layer in SPARSE:
        first, second = (SPARSE[layer](6, 6) for _ in range(2))
        first.load_state_dict(encoder.first.state_dict())
        second.load_state_dict(encoder.second.state_dict())
    nodes = torch.randn(3, 7, 6)
    neighbors = knn(nodes, 2)
    for graph, near, encoded in zip(nodes, neighbors, encoder(nodes, neighbors), strict=True):
        edges = torch.stack([near.flatten(), torch.arange(7).repeat_interleave(2)])
        edges = edges.flip(0) if reverse else edges
        torch.testing.assert_close(encoded, second(first(graph, edges).relu(), edges))


@pytest.mark.parametrize("layer", LAYERS)
def test_encoding_follows_a_permutation_of_the_nodes(layer):
    encoder = GraphEncoder(6, layer)
    nodes = torch.randn(1, 9, 6)
    order = torch.randperm(9)
    shuffled = nodes[:, order]
    torch.testing.assert_close(encoder(shuffled, knn(shuffled, 3)), encoder(nodes, knn(nodes, 3))[:, order])


def test_gcn_is_the_symmetrically_normalised_average():
    encoder = GraphEncoder(3, "gcn", residual=False)
    nodes = torch.rand(1, 4, 3)
    neighbors = knn(nodes, 2)
    adjacency = torch.eye(4)
    adjacency[torch.arange(4).repeat_interleave(2), neighbors.flatten()] = 1
    degree = adjacency.sum(1)
    mixing = adjacency / (degree[:, None] * degree[None, :]).sqrt()
    w1, b1, w2, b2 = encoder.first.lin.weight, encoder.first.bias, encoder.second.lin.weight, encoder.second.bias
    hidden = (mixing @ nodes[0] @ w1.T + b1).relu()
    torch.testing.assert_close(encoder(nodes, neighbors)[0], mixing @ hidden @ w2.T + b2)


def test_reverse_sends_messages_to_the_listed_node():
    encoder = GraphEncoder(2, "graph_mean", residual=False, reverse=True)
    nodes = torch.randn(1, 3, 2)
    neighbors = torch.tensor([[[1], [2], [1]]])  # nobody lists node 0
    changed = nodes.clone()
    changed[0, 1:] += 1.0
    same = encoder(nodes, neighbors)[0, 0] == encoder(changed, neighbors)[0, 0]
    assert same.all()


def test_dropout_comes_from_the_generator():
    encoder = GraphEncoder(8, dropout=0.5)
    nodes = torch.randn(1, 5, 8)
    neighbors = knn(nodes, 2)
    first, second = (encoder(nodes, neighbors, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, encoder(nodes, neighbors, torch.Generator().manual_seed(4)))
    encoder.eval()
    assert torch.equal(encoder(nodes, neighbors), encoder(nodes, neighbors))


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="unknown graph layer"):
        build_layer("transformer", 4)
    with pytest.raises(ValueError, match="dropout"):
        GraphEncoder(4, dropout=1.0)


def test_a_single_node_is_encoded():
    nodes = torch.randn(2, 1, 4)
    assert torch.isfinite(GraphEncoder(4)(nodes, knn(nodes, 5))).all()
