from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from medgraph.alignment import matching
from medgraph.alignment.matching import (
    CosineEdgeCosts,
    DenseEdgeCosts,
    MatchingProblem,
    all_matchings,
    lap,
    objective,
    on_host,
    solve,
)

ORACLES = Path(__file__).parents[3] / "shared" / "oracles" / "qap_instances.npz"


def objective_by_hand(problem: MatchingProblem, g: int, matching: list[int]) -> float:
    """The definition, with loops over node pairs and edges."""
    threshold = problem.threshold or 0.0
    total = sum(float(problem.unary[g, i, j]) - threshold for i, j in enumerate(matching) if j >= 0)
    table = problem.edges.dense()
    num_nodes, k = table.left.shape[1:]
    for i in range(num_nodes):
        for a in range(k):
            tail, head = matching[i], matching[int(table.left[g, i, a])]
            for b in range(k):
                if tail >= 0 and head >= 0 and int(table.right[g, tail, b]) == head:
                    total += float(table.costs[g, i * k + a, tail * k + b])
    return total


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("threshold", [None, -0.1])
def test_the_objective_is_its_definition(make_problem, dense, threshold):
    problem = make_problem(num_problems=2, dense=dense, threshold=threshold)
    candidate = torch.tensor([[1, 0, 4, 2, 3], [0, 1, 2, 4, 3]])
    if threshold is not None:
        candidate[:, 2] = -1
    expected = [objective_by_hand(problem, g, candidate[g].tolist()) for g in range(2)]
    torch.testing.assert_close(objective(problem, candidate), torch.tensor(expected))


def test_cosine_costs_equal_their_table_wherever_they_are_read(make_problem, monkeypatch):
    costs = make_problem(num_problems=2, num_nodes=7, dense=False, dtype=torch.float64).edges
    e, f = (x.flatten() for x in torch.meshgrid(torch.arange(21), torch.arange(21), indexing="ij"))
    for table_edges in (1000, 0):
        monkeypatch.setattr(matching, "TABLE_EDGES", table_edges)
        for g in range(2):
            table = costs.dense().costs[g].flatten()
            torch.testing.assert_close(costs.pair_costs(torch.full_like(e, g), e, f), table)
            np.testing.assert_allclose(costs.reader()((21 * g + e).numpy(), f.numpy()), table, atol=1e-12)


def test_large_graphs_are_solved_without_a_table(make_problem, monkeypatch):
    problem = make_problem(num_problems=2, num_nodes=12, dense=False, dtype=torch.float64)
    expected = solve(problem)
    monkeypatch.setattr(matching, "TABLE_EDGES", 0)
    assert torch.equal(solve(problem), expected)


@pytest.mark.parametrize("table_edges", [0, 1000])
def test_edges_between_duplicates_cost_the_offset_only(make_problem, monkeypatch, table_edges):
    monkeypatch.setattr(matching, "TABLE_EDGES", table_edges)
    nodes = torch.ones(1, 4, 3)
    near = torch.tensor([[[1], [0], [3], [2]]])
    costs = CosineEdgeCosts(near, near, nodes, nodes, weight=2.0, offset=0.25)
    np.testing.assert_allclose(costs.reader()(np.arange(4), np.arange(4)), 0.5)


@pytest.mark.parametrize("threshold", [None, -0.3, 0.2])
def test_frank_wolfe_finds_the_brute_force_optimum(make_problem, threshold):
    hits = []
    for seed in range(10):
        problem = make_problem(num_problems=8, num_nodes=6, seed=seed, noise=0.3 + 0.2 * seed, threshold=threshold)
        exact = objective(problem, solve(problem, "brute_force"))
        found = objective(problem, solve(problem))
        assert (found > exact - 1e-5).all()  # nothing beats brute force
        hits.append(found < exact + 1e-5)
    assert torch.cat(hits).float().mean() >= 0.9


@pytest.mark.parametrize("partial", [False, True])
def test_without_edges_the_optimum_is_exact(make_problem, partial):
    problem = make_problem(num_problems=5, num_nodes=6, threshold=-0.2 if partial else None)
    problem = MatchingProblem(problem.unary, None, problem.threshold)
    exact = objective(problem, solve(problem, "brute_force"))
    torch.testing.assert_close(objective(problem, solve(problem)), exact)
    torch.testing.assert_close(objective(problem, solve(problem, "lap")), exact)


def test_zero_edge_costs_leave_a_linear_assignment(make_problem):
    problem = make_problem(num_problems=3, num_nodes=9)
    edges = DenseEdgeCosts(problem.edges.left, problem.edges.right, torch.zeros_like(problem.edges.costs))
    found = solve(MatchingProblem(problem.unary, edges))
    expected = [linear_sum_assignment(unary.numpy())[1].tolist() for unary in problem.unary]
    assert found.tolist() == expected


def test_all_costs_above_the_threshold_match_nothing(make_problem):
    problem = make_problem()
    edges = DenseEdgeCosts(problem.edges.left, problem.edges.right, problem.edges.costs.abs())
    assert (solve(MatchingProblem(problem.unary.abs() + 1, edges, threshold=0.5)) == -1).all()


def test_every_solution_is_one_to_one(make_problem):
    full = solve(make_problem(num_problems=4, num_nodes=11, noise=3.0))
    assert torch.equal(full.sort(-1).values, torch.arange(11).expand(4, -1))
    for row in solve(make_problem(num_problems=4, num_nodes=11, noise=3.0, threshold=-0.4)).tolist():
        matched = [j for j in row if j >= 0]
        assert len(matched) == len(set(matched))


def test_solutions_follow_a_permutation_of_the_nodes(make_problem):
    problem = make_problem(num_nodes=8, dense=False, noise=0.5, dtype=torch.float64)
    order = torch.randperm(8)
    place = order.argsort()
    edges = problem.edges
    moved = type(edges)(
        place[edges.left[:, order]], edges.right, edges.left_nodes[:, order], edges.right_nodes, 0.5, 0.1
    )
    assert torch.equal(solve(MatchingProblem(problem.unary[:, order], moved)), solve(problem)[:, order])


def test_a_batch_is_solved_like_its_problems_alone(make_problem):
    batch = make_problem(num_problems=6, num_nodes=10, noise=2.0)
    for g, found in enumerate(solve(batch)):
        edges = DenseEdgeCosts(*(x[g : g + 1] for x in (batch.edges.left, batch.edges.right, batch.edges.costs)))
        assert torch.equal(solve(MatchingProblem(batch.unary[g : g + 1], edges))[0], found)


def test_samples_share_the_edges_of_their_problem(make_problem):
    problem = make_problem(num_problems=2, num_nodes=7, noise=2.0)
    twice = MatchingProblem(problem.unary.repeat(2, 1, 1), problem.edges)
    assert torch.equal(solve(twice), solve(problem).repeat(2, 1))
    assert torch.equal(objective(twice, solve(twice)), objective(problem, solve(problem)).repeat(2))


@pytest.mark.parametrize("threshold", [None, -0.5])
def test_one_node(make_problem, threshold):
    edges = DenseEdgeCosts(*(torch.zeros(1, 1, 0, dtype=torch.int64),) * 2, torch.zeros(1, 0, 0))
    problem = MatchingProblem(torch.tensor([[[-1.0]]]), edges, threshold)
    assert solve(problem).tolist() == [[0]]


def test_wrong_calls_are_refused(make_problem):
    with pytest.raises(ValueError, match="unknown solver"):
        solve(make_problem(), "auction")
    with pytest.raises(ValueError, match="at most 8"):
        solve(make_problem(num_nodes=9), "brute_force")
    with pytest.raises(ValueError, match="not finite"):
        solve(MatchingProblem(torch.full((1, 2, 2), torch.nan)))


def test_the_number_of_matchings():
    assert len(all_matchings(4)) == 24
    assert len(all_matchings(6, partial=True)) == 13327
    assert lap(np.zeros((1, 2, 2)), partial=True).tolist() == [[-1, -1]]


@pytest.mark.skipif(not ORACLES.exists(), reason=f"needs the matching instances of {ORACLES}")
def test_frank_wolfe_on_stored_instances():
    stored = np.load(ORACLES)
    exact, gaps = [], []
    for key in (name[:-2] for name in stored.files if name.endswith("_U")):
        near = torch.from_numpy(stored[f"{key}_nbr"].astype(np.int64))[None]
        unary, pairs = (torch.from_numpy(stored[f"{key}_{x}"])[None] for x in "UQ")
        problem = MatchingProblem(unary, DenseEdgeCosts(near, near, pairs))
        value = float(objective(problem, solve(problem)))
        if f"{key}_exact" in stored.files:
            exact.append(value <= stored[f"{key}_exact"] + 1e-4)
        else:
            gaps.append((value - stored[f"{key}_best"]) / abs(stored[f"{key}_best"]))
    assert np.mean(exact) >= 0.95
    assert np.mean(gaps) <= 0.01


@pytest.mark.parametrize("dense", [True, False])
def test_a_problem_and_what_belongs_to_it_is_copied_without_its_gradient(make_problem, dense):
    problem = make_problem(num_problems=2, dense=dense)
    problem.unary.requires_grad_()
    host, positives = on_host(problem, torch.eye(5).expand(2, 5, 5))
    assert not host.unary.requires_grad
    assert torch.equal(positives, torch.eye(5).expand(2, 5, 5))
    assert torch.equal(solve(host), solve(problem))
    assert torch.equal(host.edges.dense().costs, problem.edges.dense().costs)
    assert on_host(MatchingProblem(problem.unary))[0].edges is None
