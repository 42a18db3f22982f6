from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medgraph.alignment.gradients import (
    gumbel,
    match_accuracy,
    nearest_target,
    perturb,
    solve_with_target,
    sum_of_gamma,
    surrogate,
    with_gradient_of,
)
from medgraph.alignment.losses import hamming, same_content
from medgraph.alignment.matching import MatchingProblem, all_matchings, objective, solve


def identity(num_problems: int, num_nodes: int) -> torch.Tensor:
    return torch.eye(num_nodes, dtype=torch.bool).repeat(num_problems, 1, 1)


def one_hot(matching: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(matching, matching.shape[-1]).double()


def enumerate_values(problem: MatchingProblem) -> torch.Tensor:
    """Objective of all matchings of every problem: (P, M)."""
    candidates = torch.from_numpy(all_matchings(problem.unary.shape[-1]))
    return torch.stack([objective(problem, row.expand(len(problem.unary), -1)) for row in candidates], dim=1)


def test_the_gradient_is_the_expected_difference_of_matchings(make_problem):
    """Against enumeration: the matchings of all noise draws, found by brute force over all permutations."""
    problem = make_problem(num_problems=2, num_nodes=4, dtype=torch.float64)
    unary = problem.unary.requires_grad_()
    noise = gumbel((50, 2, 4, 4), torch.Generator().manual_seed(0)).double()
    noisy = perturb(problem, noise)
    matching = solve(noisy, "brute_force").view(50, 2, 4)
    surrogate(problem, matching, nearest_target(matching, identity(2, 4))).backward()
    best = enumerate_values(noisy).argmin(1)
    enumerated = one_hot(torch.from_numpy(all_matchings(4))[best].view(50, 2, 4)).mean(0)
    torch.testing.assert_close(unary.grad, (torch.eye(4, dtype=torch.float64) - enumerated) / 2)


def test_the_gradient_of_edges_is_that_of_the_smoothed_objective(make_problem):
    """Finite differences of F(c) = E min_m <c - noise, m>, whose gradient is the expected matching, edges included."""
    problem = make_problem(num_nodes=5, k=2, dtype=torch.float64)
    table = problem.edges.costs.requires_grad_()
    noise = gumbel((40, 1, 5, 5), torch.Generator().manual_seed(1)).double()
    target = torch.arange(5).expand(40, 1, 5)
    matching = solve(perturb(problem, noise), "brute_force").view(40, 1, 5)
    surrogate(problem, matching, target).backward()

    def smoothed(costs: torch.Tensor) -> torch.Tensor:
        changed = replace(problem, edges=replace(problem.edges, costs=costs))
        noisy = perturb(changed, noise)
        lowest = objective(noisy, solve(noisy, "brute_force")).mean()
        return objective(changed, target[0]).mean() - lowest

    step = 1e-6
    for e, f in torch.randint(10, (12, 2), generator=torch.Generator().manual_seed(2)).tolist():
        shift = torch.zeros_like(table)
        shift[0, e, f] = step
        slope = (smoothed(table.detach() + shift) - smoothed(table.detach() - shift)) / (2 * step)
        assert table.grad[0, e, f].item() == pytest.approx(slope.item(), abs=1e-5)


def test_a_large_lambda_gives_the_closed_form(make_problem):
    noisy = perturb(make_problem(num_problems=3, num_nodes=6), gumbel((4, 3, 6, 6)))
    matching, target = solve_with_target(noisy, identity(3, 6), lam=1e4)
    assert torch.equal(matching, solve(noisy).view(4, 3, 6))
    assert torch.equal(target, torch.arange(6).expand(4, 3, 6))
    assert torch.equal(*solve_with_target(noisy, identity(3, 6), lam=0.0))


def test_black_box_gradient_by_its_formula(make_problem):
    """Vlastelica et al.: -(y(w) - y(w'))/λ with w' = w + λ dL/dy, on a linear assignment."""
    problem = MatchingProblem(make_problem(num_nodes=6, noise=3.0).unary.double().requires_grad_())
    lam = 2.0
    matching, target = solve_with_target(perturb(problem, torch.zeros(1, 1, 6, 6)), identity(1, 6), lam)
    (surrogate(problem, matching, target) / lam).backward()
    slope = (1 - 2 * torch.eye(6, dtype=torch.float64)) / 6
    shifted = solve(MatchingProblem(problem.unary.detach() + lam * slope))
    expected = -(one_hot(matching[0]) - one_hot(shifted)) / lam
    assert expected.abs().sum() > 0
    torch.testing.assert_close(problem.unary.grad, expected)


def test_the_gradient_is_homogeneous_in_the_upstream_gradient(make_problem):
    problem = make_problem(num_problems=2, num_nodes=6, noise=4.0)
    gradients = []
    for scale in (1.0, 65536.0):
        unary = problem.unary.detach().requires_grad_()
        live = replace(problem, unary=unary)
        matching = solve(perturb(live, torch.zeros(1, 1, 6, 6))).view(1, 2, 6)
        value = hamming(matching, identity(2, 6)).mean()
        loss = with_gradient_of(value, surrogate(live, matching, nearest_target(matching, identity(2, 6))))
        assert loss.item() == pytest.approx(value.item())
        (scale * loss).backward()
        gradients.append(unary.grad / scale)
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_noise_on_edges_is_drawn_per_sample(make_problem):
    problem = make_problem(num_problems=2, num_nodes=5, k=2)
    edge_noise = torch.randn(3, 2, 10, 10)
    noisy = perturb(problem, torch.zeros(3, 1, 5, 5), edge_noise)
    assert noisy.unary.shape == (6, 5, 5)
    torch.testing.assert_close(noisy.edges.costs[5], problem.edges.costs[1] - edge_noise[2, 1])


def test_nearest_target_keeps_right_matches_of_duplicates():
    positives = same_content(4, torch.tensor([0, 0, 0, 1]))[None]
    matching = torch.tensor([[[1, 3, 0, 2]], [[2, 1, 0, 3]], [[0, 1, 2, -1]]])
    target = nearest_target(matching, positives)
    assert target.tolist() == [[[1, 2, 0, 3]], [[2, 1, 0, 3]], [[0, 1, 2, 3]]]


def test_gumbel_moments_and_reproducibility():
    noise = gumbel((200_000,), torch.Generator().manual_seed(0))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(1.6449, abs=0.03)
    assert torch.equal(noise, gumbel((200_000,), torch.Generator().manual_seed(0)))


def test_k_entries_of_sum_of_gamma_noise_add_up_to_a_gumbel():
    noise = sum_of_gamma((20_000, 5), ones=5, generator=torch.Generator().manual_seed(0), num_terms=50).sum(-1)
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.03)
    assert noise.var().item() == pytest.approx(1.6449, abs=0.06)


def test_sum_of_gamma_matchings_are_near_the_gibbs_distribution():
    """E[MAP] against the marginals of exp(score), enumerated over the 24 permutations of 4 nodes."""
    problem = MatchingProblem(torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)))
    weights = torch.softmax(-enumerate_values(problem)[0], dim=0).double()
    marginals = (weights[:, None, None] * one_hot(torch.from_numpy(all_matchings(4)))).sum(0)

    def error(noise: torch.Tensor) -> float:
        return (one_hot(solve(perturb(problem, noise))).mean(0) - marginals).abs().max().item()

    shape, generator = (2000, 1, 4, 4), torch.Generator().manual_seed(1)
    assert error(sum_of_gamma(shape, ones=4, generator=generator)) < 0.15
    assert error(torch.zeros(1, 1, 4, 4)) > 0.3


def test_match_accuracy():
    assert match_accuracy(torch.tensor([[[0, 2, -1, 3]]]), identity(1, 4)).item() == 0.5
