from __future__ import annotations

import pytest
import torch

from medgraph.alignment.clock import time_solves
from medgraph.alignment.diagnostics import match_table, solver_gap, watch_gradients
from medgraph.alignment.head import AlignmentInput
from medgraph.alignment.heads.infonce import InfoNCEHead
from medgraph.alignment.matching import objective, solve


def test_exact_solvers_have_no_gap_and_a_gap_bounds_the_true_one_from_below(make_problem):
    problem = make_problem(num_problems=4, num_nodes=5)
    best = solve(problem, "brute_force")
    assert solver_gap(problem, best) == 0
    reverse = torch.arange(5).flip(0).expand(4, 5)
    gap = solver_gap(problem, reverse)
    right, cheapest, found = (objective(problem, m) for m in (torch.arange(5).expand(4, 5), best, reverse))
    assert gap > 0
    assert gap == pytest.approx((((found - right).clamp(min=0)) / right.abs()).mean().item())
    assert gap <= ((found - cheapest) / right.abs()).mean()


def test_unmatched_nodes_leave_empty_rows():
    table = match_table(torch.tensor([[-1, 0, 2], [-1, 1, 2]]))
    assert table.tolist() == [[0, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]


def test_gradient_norms_are_those_of_the_loss_whatever_it_is_scaled_by(make_input):
    head = InfoNCEHead()
    nodes = make_input(num_nodes=5)
    expected = torch.autograd.grad(head(nodes).loss, [graph.pooled for graph in nodes.graphs().values()])
    for scale in (1.0, 1024.0):
        loss = head(nodes).loss
        norms = watch_gradients(nodes, loss)
        (scale * loss / 3).backward()
        for name, gradient in zip(nodes.graphs(), expected, strict=True):
            torch.testing.assert_close(norms[name], gradient.norm())


def test_frozen_views_have_no_norm(make_input):
    nodes = make_input(num_nodes=5)
    nodes.image.pooled = nodes.image.pooled.detach()
    norms = watch_gradients(nodes, loss := InfoNCEHead()(nodes).loss)
    loss.backward()
    assert set(norms) == {"answer", "extended"}
    frozen = AlignmentInput(nodes.image, {"answer": nodes.image})
    assert watch_gradients(frozen, torch.zeros(())) == {}


def test_only_solves_inside_the_block_are_timed(make_problem):
    problem = make_problem(num_nodes=6)
    with time_solves() as clock:
        solve(problem)
    assert 0 < clock.seconds < 10
    before = clock.seconds
    solve(problem)
    assert clock.seconds == before
