from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medgraph.alignment.graph import knn
from medgraph.alignment.matching import CosineEdgeCosts, MatchingProblem, solve
from medgraph.alignment.metric import (
    StructuredGraph,
    geodesic,
    node_mapping,
    sga_barycenter,
    sga_distance,
)

fast = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10**6)
weights = st.sampled_from([0.1, 0.5, 0.9])


@st.composite
def graphs(draw, count: int, largest: int = 5) -> list[StructuredGraph]:
    """Graphs of the same size with few different features, so that ties and isomorphisms happen."""
    num_nodes = draw(st.integers(1, largest))
    rng = np.random.default_rng(draw(seeds))

    def make() -> StructuredGraph:
        nodes = rng.integers(-1, 2, (num_nodes, 1)).astype(float)
        edges = rng.integers(-1, 2, (num_nodes, num_nodes, 2)) * (rng.random((num_nodes, num_nodes, 1)) < 0.6)
        return StructuredGraph(torch.from_numpy(nodes), torch.from_numpy(edges.astype(float)))

    return [make() for _ in range(count)]


def slow_distance(left: StructuredGraph, right: StructuredGraph, alpha: float) -> float:
    """The definition, written as loops over nodes."""
    n = len(left.nodes)
    totals = []
    for p in permutations(range(n)):
        nodes = sum(((left.nodes[i] - right.nodes[p[i]]) ** 2).sum().item() for i in range(n))
        edges = sum(
            ((left.edges[i, j] - right.edges[p[i], p[j]]) ** 2).sum().item() for i in range(n) for j in range(n)
        )
        totals.append((1 - alpha) * nodes / n + alpha * edges / n**2)
    return min(totals) ** 0.5


@settings(max_examples=10, deadline=None)
@given(graphs(2, largest=4), weights)
def test_distance_is_the_definition(pair, alpha):
    assert sga_distance(*pair, alpha) == pytest.approx(slow_distance(*pair, alpha), abs=1e-9)


@fast
@given(graphs(3), weights)
def test_metric_axioms(triple, alpha):
    a, b, c = triple
    ab, ba, bc, ac = (sga_distance(*pair, alpha) for pair in ((a, b), (b, a), (b, c), (a, c)))
    assert sga_distance(a, a, alpha) == 0
    assert ab == pytest.approx(ba, abs=1e-12)
    assert ac <= ab + bc + 1e-12


@fast
@given(graphs(2, largest=3), weights)
def test_zero_means_isomorphic(pair, alpha):
    a, b = pair
    moved = [b.reordered(torch.tensor(p)) for p in permutations(range(len(b.nodes)))]
    isomorphic = any(torch.equal(a.nodes, m.nodes) and torch.equal(a.edges, m.edges) for m in moved)
    assert (sga_distance(a, b, alpha) == 0) == isomorphic


@fast
@given(graphs(2), weights, seeds)
def test_isomorphic_graphs_are_the_same_point(pair, alpha, seed):
    a, b = pair
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(a.nodes)))
    assert sga_distance(a, a.reordered(order), alpha) == 0
    assert sga_distance(a.reordered(order), b, alpha) == pytest.approx(sga_distance(a, b, alpha), abs=1e-12)


@fast
@given(graphs(2), weights, st.floats(0, 1), st.floats(0, 1))
def test_geodesics_have_constant_speed(pair, alpha, s, t):
    a, b = pair
    whole = sga_distance(a, b, alpha)
    between = sga_distance(geodesic(a, b, s, alpha), geodesic(a, b, t, alpha), alpha)
    assert between == pytest.approx(abs(s - t) * whole, abs=1e-9)
    assert sga_distance(geodesic(a, b, 1.0, alpha), b, alpha) == pytest.approx(0, abs=1e-9)


@fast
@given(graphs(3, largest=4), weights)
def test_barycenters_are_closer_to_all_than_any_of_them(triple, alpha):
    def spread(centre: StructuredGraph, around: list[StructuredGraph]) -> float:
        return sum(sga_distance(centre, graph, alpha) ** 2 for graph in around)

    assert spread(sga_barycenter(triple, alpha), triple) <= min(spread(graph, triple) for graph in triple) + 1e-9
    pair = triple[:2]
    assert spread(sga_barycenter(pair, alpha), pair) == pytest.approx(sga_distance(*pair, alpha) ** 2 / 2, abs=1e-9)


def test_the_optimal_mapping_solves_the_matching_problem_of_the_heads():
    """On unit nodes with unit edges, squared differences and cosines order all matchings alike."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.nn.functional.normalize(torch.randn(2, 6, 4, generator=generator).double(), dim=-1)
    alpha, k = 0.6, 2
    neighbors = knn(torch.stack([left, right]), k)
    edges = CosineEdgeCosts(
        neighbors[:1], neighbors[1:], left[None], right[None], weight=alpha / (1 - alpha) / len(left)
    )
    expected = solve(MatchingProblem(-(left @ right.T)[None], edges), "brute_force")[0]
    found = node_mapping(*(StructuredGraph.nearest_neighbors(nodes, k) for nodes in (left, right)), alpha)
    assert torch.equal(found, expected)


def test_large_isomorphic_graphs_are_recognised():
    generator = torch.Generator().manual_seed(0)
    graph = StructuredGraph.nearest_neighbors(torch.randn(24, 5, generator=generator), k=4)
    order = torch.randperm(24, generator=generator)
    assert torch.equal(node_mapping(graph, graph.reordered(order)), order.argsort())
    assert sga_distance(graph, graph.reordered(order)) == 0


def test_wrong_graphs_are_refused():
    graph = StructuredGraph(torch.zeros(3, 2).double(), torch.zeros(3, 3, 1).double())
    smaller = StructuredGraph(torch.zeros(2, 2).double(), torch.zeros(2, 2, 1).double())
    with pytest.raises(ValueError, match=r"same size, got nodes \(3, 2\) and \(2, 2\)"):
        sga_distance(graph, smaller)
    with pytest.raises(ValueError, match="alpha=2 is outside"):
        node_mapping(graph, graph, alpha=2)
    with pytest.raises(ValueError, match=r"edges \(B, B, M\), got \(3, 2\) and \(3, 3\)"):
        StructuredGraph(torch.zeros(3, 2), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="at least one"):
        sga_barycenter([])
