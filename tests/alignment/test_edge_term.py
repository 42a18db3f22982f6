from __future__ import annotations

import numpy as np
import pytest
import torch

from medgraph.alignment import edge_term as module
from medgraph.alignment.edge_term import SparseTerm, TableTerm, edge_term
from medgraph.alignment.frank_wolfe import frank_wolfe, swap_changes
from medgraph.alignment.matching import MatchingProblem, objective, unary_costs

FORMS = pytest.mark.parametrize("form", [SparseTerm, TableTerm])


def matchings(num_problems: int, num_nodes: int, unmatched: int) -> torch.Tensor:
    found = torch.stack([torch.randperm(num_nodes) for _ in range(num_problems)])
    found[:, :unmatched] = -1
    return found


@FORMS
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("unmatched", [0, 2])
def test_half_of_m_times_h_of_m_is_the_edge_term_of_the_objective(make_problem, form, dense, unmatched):
    problem = make_problem(num_problems=2, num_nodes=7, dense=dense, dtype=torch.float64)
    matching = matchings(2, 7, unmatched)
    gradient = form(problem.edges)(np.arange(2), matching.numpy())
    on_edges = MatchingProblem(torch.zeros_like(problem.unary), problem.edges)
    paid = torch.from_numpy(gradient).gather(2, matching.clamp(min=0).unsqueeze(-1)).squeeze(-1) * (matching >= 0)
    torch.testing.assert_close(paid.sum(1) / 2, objective(on_edges, matching))


@FORMS
def test_swap_changes_are_differences_of_the_objective(make_problem, form):
    problem = make_problem(num_problems=2, num_nodes=6, dtype=torch.float64)
    matching = matchings(2, 6, 0)
    change = swap_changes(unary_costs(problem), form(problem.edges), np.arange(2), matching.numpy())
    for i in range(6):
        for j in range(i):
            swapped = matching.clone()
            swapped[:, [i, j]] = matching[:, [j, i]]
            expected = objective(problem, swapped) - objective(problem, matching)
            np.testing.assert_allclose(change[:, i, j], expected, atol=1e-9)


@FORMS
def test_samples_share_the_edges_of_their_problem(make_problem, form):
    problem = make_problem(num_problems=2, num_nodes=5, dtype=torch.float64)
    matching = matchings(6, 5, 1).numpy()
    together = form(problem.edges)(np.arange(6), matching)
    for number in range(6):
        alone = form(problem.edges)(np.array([number % 2]), matching[number : number + 1])
        np.testing.assert_allclose(together[number], alone[0])


@pytest.mark.parametrize("threshold", [None, 0.1])
def test_both_forms_lead_to_the_same_matchings(make_problem, monkeypatch, threshold):
    problem = make_problem(num_problems=6, num_nodes=9, dtype=torch.float64)
    problem = MatchingProblem(problem.unary, problem.edges, threshold)
    by_table = frank_wolfe(problem)
    assert isinstance(edge_term(problem), TableTerm)
    monkeypatch.setattr(module, "TABLE_NODES", 8)
    assert isinstance(edge_term(problem), SparseTerm)
    np.testing.assert_array_equal(frank_wolfe(problem), by_table)
