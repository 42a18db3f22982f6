from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linprog

from medgraph.alignment.sinkhorn import sinkhorn
from medgraph.alignment.transport import transport_plan, transport_similarity

BALANCED = (math.inf, math.inf)


def random_problems(count: int, m: int, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    costs = 2 * torch.rand(count, m, n, generator=generator, dtype=torch.float64)
    a, b = (torch.rand(count, size, generator=generator, dtype=torch.float64) + 0.1 for size in (m, n))
    return costs, a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)


@pytest.mark.parametrize("relaxation", [(0.3, 0.3), (0.05, 2.0), (math.inf, 0.2)])
def test_unbalanced_transport_is_that_of_pot(relaxation):
    ot = pytest.importorskip("ot", reason="needs the dev extra: POT is the oracle")
    costs, a, b = random_problems(4, 9, 4)
    plans = transport_plan(costs, 0.1, relaxation, a, b, iterations=2000)
    for plan, *problem in zip(plans, a, b, costs, strict=True):
        a_, b_, costs_ = (part.numpy() for part in problem)
        expected = ot.unbalanced.sinkhorn_unbalanced(
            a_, b_, costs_, 0.1, relaxation, c=np.ones_like(costs_), numItermax=5000, stopThr=1e-14
        )
        np.testing.assert_allclose(plan.numpy(), expected, rtol=0, atol=1e-5)


def test_balanced_transport_is_that_of_pot():
    ot = pytest.importorskip("ot", reason="needs the dev extra: POT is the oracle")
    costs, a, b = random_problems(4, 7, 5)
    plans = transport_plan(costs, 0.1, BALANCED, a, b, iterations=2000)
    for plan, *problem in zip(plans, a, b, costs, strict=True):
        expected = ot.sinkhorn(*(part.numpy() for part in problem), 0.1, numItermax=5000, stopThr=1e-14)
        np.testing.assert_allclose(plan.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("iterations", [1, 2, 25, 26, 60])
def test_the_square_case_with_unit_masses_is_the_sinkhorn_of_the_alignment(iterations):
    """After any number of iterations, whether they are in the log domain or between."""
    costs, ones = random_problems(2, 5, 5)[0], torch.ones(5)
    expected = sinkhorn(-costs.mT / 0.1, iterations).exp().mT  # which begins with the columns
    torch.testing.assert_close(transport_plan(costs, 0.1, BALANCED, ones, ones, iterations), expected)


def test_balanced_transport_is_the_linear_programme_for_small_epsilon():
    cost, rows = random_problems(1, 4, 3)[0][0], torch.tensor([1, 1, 1, 0]) / 3
    plan = transport_plan(cost, epsilon=0.005, rows=rows, iterations=2000)
    equal = np.zeros((7, 12))
    for t in range(4):
        equal[t, 3 * t : 3 * t + 3] = 1
    for u in range(3):
        equal[4 + u, u::3] = 1
    exact = linprog(cost.flatten().numpy(), A_eq=equal, b_eq=[1 / 3, 1 / 3, 1 / 3, 0, 1 / 3, 1 / 3, 1 / 3]).fun
    assert (plan * cost).sum().item() == pytest.approx(exact, abs=5e-3)
    assert plan[3].sum() == 0
    torch.testing.assert_close(plan.sum(0), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_unbalanced_transport_meets_its_optimality_conditions():
    """At the optimum C + ε log T + ρ log(T1 / a) + ρ log(Tᵀ1 / b) = 0."""
    cost = random_problems(1, 3, 4)[0][0]
    plan = transport_plan(cost, 0.1, (0.5, 0.5), iterations=500)
    slope = cost + 0.1 * plan.log()
    slope = slope + 0.5 * (3 * plan.sum(1, keepdim=True)).log() + 0.5 * (4 * plan.sum(0, keepdim=True)).log()
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-8, rtol=0)


def test_weak_penalties_let_mass_go_and_strong_ones_keep_it():
    costs, a, b = random_problems(1, 8, 3)
    mass = [transport_plan(costs, 0.1, (rho, rho), a, b, 500).sum().item() for rho in (0.01, 0.3, 1000.0)]
    assert mass[0] < mass[1] < mass[2] == pytest.approx(1, abs=1e-2)


def test_a_row_of_mass_zero_takes_no_part_not_even_in_the_gradient():
    costs, a, b = random_problems(1, 5, 3)
    a[:, -1] = 0
    costs.requires_grad_()
    plan = transport_plan(costs, 0.1, (0.5, 0.5), a, b)
    torch.testing.assert_close(plan[:, :-1], transport_plan(costs[:, :-1], 0.1, (0.5, 0.5), a[:, :-1], b))
    (gradient,) = torch.autograd.grad(plan.sum(), costs)
    assert not plan[:, -1].any()
    assert not gradient[:, -1].any()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("iterations", [1, 7, 60])
def test_padding_changes_nothing_however_much_there_is_and_long_before_convergence(iterations):
    costs = torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows, columns = torch.full((4,), 0.25, dtype=torch.float64), torch.full((5,), 0.2, dtype=torch.float64)
    expected = transport_plan(costs[:, :4, :5], 0.05, rows=rows, columns=columns, iterations=iterations)
    padded = transport_plan(
        costs, 0.05, rows=F.pad(rows, (0, 2)), columns=F.pad(columns, (0, 4)), iterations=iterations
    )
    torch.testing.assert_close(padded[:, :4, :5], expected)
    assert padded.sum() == pytest.approx(float(expected.sum()))


def test_small_temperatures_do_not_overflow_in_float32():
    costs = random_problems(2, 6, 4)[0].float()
    plan = transport_plan(costs, 1e-3, iterations=200)
    assert plan.isfinite().all()
    torch.testing.assert_close(plan.sum(-2), torch.full((2, 4), 0.25))


@pytest.mark.parametrize("relaxation", [BALANCED, (0.5, 0.3)])
def test_the_plan_is_differentiable(relaxation):
    costs = random_problems(1, 3, 2)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda c: transport_plan(c, 0.5, relaxation, iterations=27), (costs,))


def test_a_detached_plan_weights_the_similarities_in_the_gradient():
    similarity = (1 - random_problems(2, 4, 3)[0]).requires_grad_()
    (gradient,) = torch.autograd.grad(transport_similarity(similarity).sum(), similarity)
    torch.testing.assert_close(gradient, transport_plan(1 - similarity.detach(), 0.1))
    (through,) = torch.autograd.grad(transport_similarity(similarity, detach=False).sum(), similarity)
    assert not torch.allclose(gradient, through)


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"relaxation": (1.0, -1.0)}, {"iterations": 0}])
def test_values_that_make_no_sense_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        transport_plan(torch.zeros(2, 2), **{"epsilon": 0.1, **wrong})
