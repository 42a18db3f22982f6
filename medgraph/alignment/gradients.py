"""Gradients through the matching: perturb the costs, solve, compare with a target matching.

Every estimator here has the form ``dL/dc = (m' - m) / λ`` for costs c: m is the matching found, m' a better one. That
is the gradient of the difference of two objectives at fixed matchings, so it is written as such (:func:`surrogate`),
and autograd carries it on to nodes, edges and encoder without a (B·K)² tensor. It is homogeneous in the upstream
gradient by construction: the solver always sees the unit gradient of the loss, and loss weights, gradient accumulation
and fp16 scaling multiply the result.

Letters: S samples, P problems, B nodes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from medgraph.alignment.losses import is_right
from medgraph.alignment.matching import (
    EdgeCosts,
    Floats,
    Ints,
    MatchingProblem,
    Solver,
    matched_edges,
    solve,
    to_numpy,
)


def gumbel(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw standard Gumbel noise, float32 on the CPU, so that results do not depend on the device.

    Values lie in [-4.3, 16.7], since uniform float32 numbers are multiples of 2⁻²⁴; exponential ones cost five times
    as much to draw.
    """
    return torch.rand(shape, generator=generator).clamp_(min=1e-30).log_().neg_().log_().neg_()


def sum_of_gamma(
    shape: tuple[int, ...], ones: int, generator: torch.Generator | None = None, num_terms: int = 10
) -> Tensor:
    r"""Draw sum-of-Gamma noise: the sum over ``ones`` entries is approximately Gumbel.

    .. math:: \frac1k \Big( \sum_{i=1}^{s} \mathrm{Gamma}(\tfrac1k, \tfrac{k}{i}) - \log s \Big)

    Niepert, Minervini & Franceschi, "Implicit MLE", NeurIPS 2021, Theorem 1.

    Args:
        shape: of the noise.
        ones: k, number of ones in a solution; B for a one-to-one matching of B nodes.
        generator: source of randomness, on the CPU.
        num_terms: s, terms of the series.

    Returns:
        Float32 noise on the CPU.
    """
    steps = torch.arange(1, num_terms + 1, dtype=torch.float32)
    draws = torch._standard_gamma(torch.full((*shape, num_terms), 1.0 / ones), generator=generator)
    return ((draws * ones / steps).sum(-1) - steps[-1].log()) / ones


def perturb(
    problem: MatchingProblem,
    noise: Tensor,
    edge_noise: Tensor | None = None,
) -> MatchingProblem:
    """Subtract noise from the costs; the result holds S·P problems, sample by sample, and no gradient.

    Args:
        problem: P problems.
        noise: (S, P, B, B) or (S, 1, B, B) for one draw shared by all problems, in the unit of the costs.
        edge_noise: (S, P, B·K, B·K), or None. With it the edge costs become a table of that size.

    Returns:
        S·P problems.
    """
    unary = problem.unary.detach() - noise.to(problem.unary)
    edges: EdgeCosts | None = problem.edges
    if edges is not None and edge_noise is not None:
        table = edges.dense()
        costs = table.costs.detach() - edge_noise.to(table.costs)
        samples = len(edge_noise)
        edges = replace(
            table,
            left=table.left.repeat(samples, 1, 1),
            right=table.right.repeat(samples, 1, 1),
            costs=costs.flatten(0, 1),
        )
    return replace(problem, unary=unary.flatten(0, 1), edges=edges)


def solve_with_target(
    problem: MatchingProblem, positives: Tensor, lam: float, solver: Solver = "frank_wolfe"
) -> tuple[Tensor, Tensor]:
    r"""Solve, and solve again with costs shifted along the Hamming loss: I-MLE and black-box differentiation.

    .. math:: m' = \arg\min_m \langle c + \lambda\, \partial H / \partial m,\, m \rangle, \qquad
        \partial H / \partial m_{ij} = (1 - 2 T_{ij}) / B

    On perturbed costs this is I-MLE (Niepert et al., NeurIPS 2021), on clean costs black-box differentiation
    (Vlastelica et al., ICLR 2020). The loss is linear in m, so both solves are one batch.

    Args:
        problem: S·P problems, the noise included.
        positives: (P, B, B) bool.
        lam: λ, at least 0; large values make the target right everywhere.
        solver: see :func:`medgraph.alignment.matching.solve`.

    Returns:
        Matching m and target m', (S, P, B) int64 each.
    """
    num_problems, num_nodes, _ = positives.shape
    slope = (1.0 - 2.0 * positives.to(problem.unary)) / num_nodes
    shifted = problem.unary + lam * slope.repeat(len(problem.unary) // num_problems, 1, 1)
    both = solve(replace(problem, unary=torch.cat([problem.unary, shifted])), solver)
    matching, target = both.view(2, -1, num_problems, num_nodes)
    return matching, target


def nearest_target(matching: Tensor, positives: Tensor) -> Tensor:
    """Find the right matching that differs least from the one found: the target for λ → ∞ in closed form.

    Without duplicates that is the identity and costs nothing. With duplicates, right matches stay as they are.

    Args:
        matching: (S, P, B) int64, -1 for unmatched.
        positives: (P, B, B) bool, True on the diagonal.

    Returns:
        (S, P, B) int64.
    """
    num_nodes = matching.shape[-1]
    target = torch.arange(num_nodes).expand_as(matching).clone()
    ambiguous = positives.sum((1, 2)).cpu() > num_nodes
    for p in ambiguous.nonzero().flatten().tolist():
        allowed = to_numpy(positives[p])
        for sample in range(len(matching)):
            found = to_numpy(matching[sample, p])
            cost = np.where(allowed, 0.0, float(num_nodes + 1))
            matched = np.flatnonzero(found >= 0)
            cost[matched, found[matched]] -= 1.0
            target[sample, p] = torch.from_numpy(linear_sum_assignment(cost)[1])
    return target


def surrogate(
    problem: MatchingProblem, matching: Tensor, target: Tensor, host: MatchingProblem | None = None
) -> Tensor:
    """Average the objective of the target minus that of the matching: its gradient is that of the estimator, times λ.

    Terms that target and matching share cancel before anything is computed, so a nearly right matching costs little.

    Args:
        problem: P problems with clean, differentiable costs.
        matching: (S, P, B) int64.
        target: (S, P, B) int64.
        host: the same graphs on the CPU, if they are there already.

    Returns:
        Scalar, the mean over samples and problems.
    """
    unary = problem.unary - (problem.threshold or 0.0)
    weights = torch.zeros(unary.numel(), device=unary.device, dtype=unary.dtype)
    for sign, solution in ((1.0, target), (-1.0, matching)):
        matched = solution >= 0
        cells = torch.arange(solution[0].numel()).view(solution[0].shape) * unary.shape[-1] + solution
        found = cells[matched].to(unary.device, non_blocking=True)
        weights.index_add_(0, found, unary.new_full((len(found),), sign))
    total = unary.flatten() @ weights
    if problem.edges is not None:
        graphs = problem.edges if host is None or host.edges is None else host.edges
        *where, weight = (torch.from_numpy(x).to(unary.device, non_blocking=True)
                          for x in _edge_weights(graphs, matching, target))  # fmt: skip
        costs = problem.edges.pair_costs(*where)
        total = total + costs @ weight.to(costs)
    return total / (len(matching) * matching.shape[1])


def _edge_weights(edges: EdgeCosts, matching: Tensor, target: Tensor) -> tuple[Ints, Ints, Ints, Floats]:
    """Count how much more often the target pays for an edge pair than the matching: problem, e, f and count."""
    left, right = to_numpy(edges.left), to_numpy(edges.right)
    num_problems, num_edges = len(left), left[0].size
    keys, signs = [], []
    for sign, solution in ((1.0, target), (-1.0, matching)):
        which, e, f = matched_edges(left, right, to_numpy(solution.flatten(0, 1)))
        keys.append((which % num_problems * num_edges + e) * num_edges + f)
        signs.append(np.full(len(which), sign))
    unique, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    count: Floats = np.bincount(inverse, np.concatenate(signs), minlength=len(unique)).astype(np.float64, copy=False)
    kept = count != 0
    problem_edge, f = np.divmod(unique[kept], num_edges)
    which, e = np.divmod(problem_edge, num_edges)
    return which, e, f, count[kept]


def straight_through(problem: MatchingProblem, positives: Tensor) -> Tensor:
    """Pass the gradient of the Hamming loss to the unary costs as if the matching were minus the costs.

    The identity method of Sahoo et al. (ICLR 2023), a comparison: it does not depend on the matching.

    Args:
        problem: P problems with differentiable costs.
        positives: (P, B, B) bool.

    Returns:
        Scalar, the mean over problems.
    """
    slope = (1.0 - 2.0 * positives.to(problem.unary)) / problem.unary.shape[-1]
    return -(problem.unary * slope).sum((1, 2)).mean()


class AdaptiveLambda(nn.Module):
    r"""The λ of adaptive I-MLE: large enough that target and matching differ, and no larger.

    .. math:: \lambda = \beta \, \|c\| / \|\partial H / \partial m\|

    β rises while the gradients have fewer non-zero entries a problem than ``target``, and falls otherwise. Minervini,
    Franceschi & Niepert, AAAI 2023.

    Args:
        step: change of β a step.
        target: wanted non-zeros.
        decay: of the running mean of non-zeros.
    """

    beta: Tensor
    nonzeros: Tensor

    def __init__(self, step: float = 1e-4, target: float = 1.0, decay: float = 0.9) -> None:
        super().__init__()
        self.step, self.target, self.decay = step, target, decay
        self.register_buffer("beta", torch.tensor(1.0))
        self.register_buffer("nonzeros", torch.tensor(1.0))

    def value(self, unary: Tensor) -> float:
        """λ for costs (P, B, B); the slope of the Hamming loss has norm 1 a problem, whatever B is."""
        return float(self.beta * unary.detach().norm() / len(unary) ** 0.5)

    def update(self, matching: Tensor, target: Tensor) -> None:
        """Adapt β to matchings and targets, (S, P, B) int64 each."""
        differing = 2.0 * (matching != target).sum(-1).float().mean()
        self.nonzeros.mul_(self.decay).add_((1 - self.decay) * differing.to(self.nonzeros))
        self.beta.add_(torch.where(self.nonzeros < self.target, self.step, -self.step)).clamp_(min=0.0)


def with_gradient_of(value: Tensor, function: Tensor) -> Tensor:
    """A scalar with the value of the one and the gradient of the other."""
    return value.detach() + function - function.detach()


def match_accuracy(matching: Tensor, positives: Tensor) -> Tensor:
    """Share of nodes whose match is right: (S, P, B) → scalar in [0, 1]."""
    return is_right(matching, positives).float().mean()
