"""Frank-Wolfe for quadratic assignment: linear assignments on the gradient, an exact line search, then 2-swaps.

Letters: P problems, A problems still active, B nodes.
"""

from __future__ import annotations

import numpy as np

from medgraph.alignment.edge_term import EdgeTerm, edge_term
from medgraph.alignment.matching import Floats, Ints, MatchingProblem, lap, unary_costs

TOLERANCE = 1e-9
RELATIVE_GAP = 1e-3  # Frank-Wolfe stops where a step can gain less than this share of the objective; swaps do the rest


def frank_wolfe(problem: MatchingProblem, max_iterations: int = 4) -> Ints:
    """Minimise the matching objective to a 2-swap optimum.

    Args:
        problem: P problems of B nodes with edges.
        max_iterations: cap on linear assignments a problem.

    Returns:
        (P, B) int64, -1 for unmatched.
    """
    unary, operator = unary_costs(problem), edge_term(problem)
    partial = problem.threshold is not None
    return two_swap(unary, operator, descend(unary, operator, partial, max_iterations), partial)


def descend(unary: Floats, operator: EdgeTerm, partial: bool, max_iterations: int) -> Ints:
    """Follow Frank-Wolfe from the optimum of the unary costs and return the best matching met on the way.

    Also known as integer projected fixed point (Leordeanu et al. 2009). Every step solves one linear assignment on the
    gradient U + Hx. The edge term is needed at matchings v only, since H((1-t) x + t v) = (1-t) Hx + t Hv, and the
    point x itself is needed in two scalars only, <U, x> and <x, Hx>.

    Args:
        unary: (P, B, B) float64.
        operator: the edge term.
        partial: whether nodes may stay unmatched.
        max_iterations: cap on linear assignments a problem.

    Returns:
        (P, B) int64.
    """
    active, costs = np.arange(len(unary)), unary
    best = lap(costs, partial)
    gradient = operator(active, best)
    gradient += costs
    linear = paid(costs, best)
    quadratic = paid(gradient, best) - linear
    best_value = linear + quadratic / 2
    for _ in range(max_iterations):
        vertex = lap(gradient, partial)
        descent = linear + quadratic - paid(gradient, vertex)
        going = descent > np.maximum(TOLERANCE, RELATIVE_GAP * np.abs(best_value[active]))
        if not going.any():
            break
        if not going.all():  # copies cost as much as a step
            active, costs, vertex, gradient = active[going], costs[going], vertex[going], gradient[going]
            linear, quadratic, descent = linear[going], quadratic[going], descent[going]
        vertex_linear = paid(costs, vertex)
        vertex_gradient = operator(active, vertex)
        vertex_gradient += costs
        vertex_quadratic = paid(vertex_gradient, vertex) - vertex_linear
        value = vertex_linear + vertex_quadratic / 2
        lower = value < best_value[active] - TOLERANCE
        best[active[lower]], best_value[active[lower]] = vertex[lower], value[lower]

        cross = paid(gradient, vertex) - vertex_linear  # <v, H x>
        curvature = vertex_quadratic - 2 * cross + quadratic
        convex = curvature > TOLERANCE
        step = np.where(convex, np.minimum(descent / np.where(convex, curvature, 1.0), 1.0), 1.0)
        stay = 1 - step
        linear = stay * linear + step * vertex_linear
        quadratic = stay**2 * quadratic + 2 * stay * step * cross + step**2 * vertex_quadratic
        vertex_gradient -= gradient
        vertex_gradient *= step[:, None, None]
        gradient += vertex_gradient
    return best


def two_swap(unary: Floats, operator: EdgeTerm, matching: Ints, partial: bool) -> Ints:
    """Swap the images of two nodes, the best pair first, until no swap lowers the objective.

    Where nodes may stay unmatched, B dummy nodes on either side stand for "unmatched", so that a swap with a dummy
    matches or frees a node.

    Args:
        unary: (P, B, B) float64.
        operator: the edge term.
        matching: (P, B) int64 start.
        partial: whether nodes may stay unmatched.

    Returns:
        (P, B) int64.
    """
    num_nodes = unary.shape[1]
    full = add_dummies(matching) if partial else matching.copy()
    active = np.arange(len(full))
    for _ in range(4 * num_nodes):
        change = swap_changes(unary, operator, active, full[active]).reshape(len(active), -1)
        pick = change.argmin(1)
        lower = change[np.arange(len(active)), pick] < -TOLERANCE
        active, pick = active[lower], pick[lower]
        if not len(active):
            break
        i, j = np.divmod(pick, full.shape[1])
        full[active, i], full[active, j] = full[active, j], full[active, i]
        del change
    return np.where(full < num_nodes, full, -1)[:, :num_nodes]


def swap_changes(unary: Floats, operator: EdgeTerm, active: Ints, full: Ints) -> Floats:
    """Compute by how much the objective changes when nodes i and j swap their images.

    Args:
        unary: (P, B, B) float64.
        operator: the edge term.
        active: (A,) problem numbers.
        full: (A, N) int64 permutations, N = B or, with dummies, 2B.

    Returns:
        (A, N, N) float64, symmetric.
    """
    num_nodes, num_dummies = unary.shape[1], full.shape[1] - unary.shape[1]
    matching = np.where(full < num_nodes, full, -1)[:, :num_nodes]
    gradient = operator(active, matching)
    gradient += unary[active]
    if num_dummies:
        gradient = np.pad(gradient, ((0, 0), (0, num_dummies), (0, num_dummies)))
    cross = np.take_along_axis(gradient, full[:, None, :], 2)  # cost of i at the image of j
    del gradient
    own = np.diagonal(cross, axis1=1, axis2=2)
    change = cross + cross.transpose(0, 2, 1)
    change -= own[:, :, None]
    change -= own[:, None, :]
    operator.add_second_order(change, active, matching)
    return change


def add_dummies(matching: Ints) -> Ints:
    """Complete a partial matching of B nodes to a permutation of 2B: (P, B) → (P, 2B)."""
    num_problems, n = matching.shape
    full = np.empty((num_problems, 2 * n), dtype=np.int64)
    full[:, :n] = np.where(matching >= 0, matching, n + np.arange(n))
    full[:, n:] = np.arange(n)  # dummy n+j takes the right node j where it is free,
    row, i = np.nonzero(matching >= 0)
    full[row, n + matching[row, i]] = n + i  # else the dummy that left node i does not need
    return full


def paid(costs: Floats, matching: Ints) -> Floats:
    """Sum the costs of the matched pairs: (P, B, B), (P, B) → (P,)."""
    num_problems, num_nodes = matching.shape
    taken = costs[np.arange(num_problems)[:, None], np.arange(num_nodes), matching]
    total: Floats = (taken * (matching >= 0)).sum(1)
    return total
