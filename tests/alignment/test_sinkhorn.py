from __future__ import annotations

import numpy as np
import pytest
import torch

from medgraph.alignment.edge_term import edge_term
from medgraph.alignment.matching import DenseEdgeCosts, MatchingProblem, objective, solve
from medgraph.alignment.sinkhorn import edge_gradient, round_greedily, sinkhorn, soft_match


def one_hot(matching: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(matching, matching.shape[-1]).double()


def test_sinkhorn_is_doubly_stochastic_and_keeps_scaling():
    scores = torch.randn(3, 5, 5, dtype=torch.float64)
    plan = sinkhorn(scores, 200).exp()
    torch.testing.assert_close(plan.sum(-1), torch.ones(3, 5, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(-2), torch.ones(3, 5, dtype=torch.float64))
    shifted = scores + torch.randn(3, 5, 1) + torch.randn(3, 1, 5)
    torch.testing.assert_close(sinkhorn(shifted, 500).exp(), sinkhorn(scores, 500).exp())


def test_partial_sinkhorn_leaves_bad_nodes_unmatched():
    scores = torch.full((3, 3), -9.0)
    scores[0, 0] = 9.0
    plan = sinkhorn(scores, 50, partial=True).exp()
    assert plan[0, 0] > 0.95
    assert plan.sum() < 1.1
    assert (plan.sum(0) <= 1 + 1e-5).all()


@pytest.mark.parametrize("dense", [True, False])
def test_the_edge_gradient_is_that_of_the_objective(make_problem, dense):
    """Two forms on the device, one on the host: all equal at a matching."""
    problem = make_problem(num_problems=2, num_nodes=7, dense=dense, dtype=torch.float64)
    matching = torch.stack([torch.randperm(7), torch.randperm(7)])
    expected = edge_term(problem)(np.arange(2), matching.numpy())
    np.testing.assert_allclose(edge_gradient(problem.edges, one_hot(matching)), expected, atol=1e-9)


def test_soft_edge_gradients_agree_between_both_forms(make_problem):
    edges = make_problem(num_problems=2, num_nodes=6, dense=False, dtype=torch.float64).edges
    x = torch.rand(4, 6, 6, dtype=torch.float64)  # two samples of two problems
    torch.testing.assert_close(edge_gradient(edges, x), edge_gradient(edges.dense(), x))


def test_a_cold_soft_matching_is_the_assignment(make_problem):
    problem = MatchingProblem(make_problem(num_problems=3, num_nodes=6, dtype=torch.float64).unary)
    plan = soft_match(problem, temperature=0.005, iterations=500).exp()
    torch.testing.assert_close(plan, one_hot(solve(problem)), atol=1e-2, rtol=0)


def test_soft_matching_is_differentiable(make_problem):
    problem = make_problem(num_nodes=4, k=2, dtype=torch.float64)
    edges = problem.edges

    def run(unary: torch.Tensor, costs: torch.Tensor) -> torch.Tensor:
        return soft_match(MatchingProblem(unary, DenseEdgeCosts(edges.left, edges.right, costs)), steps=2, iterations=4)

    assert torch.autograd.gradcheck(run, (problem.unary.requires_grad_(), edges.costs.requires_grad_()))


@pytest.mark.parametrize("threshold", [None, -0.3])
def test_graduated_assignment_is_close_to_frank_wolfe(make_problem, threshold):
    problem = make_problem(num_problems=8, num_nodes=16, noise=0.7, threshold=threshold)
    soft, hard = (objective(problem, solve(problem, solver)).mean() for solver in ("sinkhorn", "frank_wolfe"))
    linear = objective(problem, solve(problem, "lap")).mean()
    assert soft < linear
    assert soft < hard + 0.1 * hard.abs()


def test_rounding_is_one_to_one_and_may_leave_nodes_out():
    soft = torch.rand(3, 6, 6)
    assert torch.equal(round_greedily(soft).sort(-1).values, torch.arange(6).expand(3, -1))
    soft = torch.tensor([[[0.9, 0.0], [0.1, 0.2]]])
    assert round_greedily(soft, partial=True).tolist() == [[0, -1]]
