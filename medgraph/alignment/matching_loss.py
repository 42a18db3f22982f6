"""The loss of a discrete matching: solve under noise, count mistakes, and estimate the gradient.

Letters: P problems, S noise samples, B nodes, K neighbours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from medgraph.alignment.gradients import (
    AdaptiveLambda,
    gumbel,
    nearest_target,
    perturb,
    solve_with_target,
    straight_through,
    sum_of_gamma,
    surrogate,
    with_gradient_of,
)
from medgraph.alignment.losses import hamming
from medgraph.alignment.matching import MatchingProblem, Solver, on_host, solve
from medgraph.alignment.sinkhorn import soft_match

Gradient = Literal["closed_form", "imle", "aimle", "blackbox", "straight_through", "entropic"]
Noise = Literal["gumbel", "sum_of_gamma"]


class MatchingLoss(nn.Module):
    r"""Hamming distance of the perturbed matching to the right one.

    .. math:: L = \tfrac1P \sum_p H\big(\arg\min_m \langle c_p - \epsilon, m \rangle,\, T_p\big)

    Args:
        solver: see :func:`medgraph.alignment.matching.solve`.
        gradient: ``closed_form``, ``imle`` (a second solve with λ), ``aimle`` (λ adapts), ``blackbox`` (λ, no noise),
            ``straight_through``, or ``entropic``: the loss is then the negative log-likelihood of a differentiable
            soft matching, without noise.
        lam: λ; the gradient is (m' - m)/λ. 0 takes the number of nodes, which makes it a mean over nodes.
        noise: scale of the noise on unary costs.
        noise_kind: ``gumbel``, or ``sum_of_gamma`` as in I-MLE.
        shared_noise: one draw of unary noise for all problems.
        num_samples: S, noise samples a step.
    """

    def __init__(
        self,
        solver: Solver = "frank_wolfe",
        gradient: Gradient = "closed_form",
        lam: float = 0.0,
        noise: float = 1.0,
        noise_kind: Noise = "gumbel",
        shared_noise: bool = False,
        num_samples: int = 8,
    ) -> None:
        super().__init__()
        self.solver, self.gradient, self.lam = solver, gradient, lam
        self.noise, self.noise_kind, self.shared_noise, self.num_samples = noise, noise_kind, shared_noise, num_samples
        self.adaptive = AdaptiveLambda() if gradient == "aimle" else None

    def forward(
        self,
        problem: MatchingProblem,
        positives: Tensor,
        generator: torch.Generator | None = None,
        edge_noise: float = 0.0,
    ) -> Tensor:
        """Compute the loss with the chosen gradient.

        Args:
            problem: P problems, differentiable.
            positives: (P, B, B) bool, right pairs.
            generator: source of the noise.
            edge_noise: scale of Gumbel noise on the edge-pair costs; above 0 needs (B·K)² numbers a problem.

        Returns:
            Scalar; in [0, 2] unless entropic.
        """
        if self.gradient == "entropic":
            plan = soft_match(problem).masked_fill(~positives, -torch.inf)
            return -plan.logsumexp(-1).mean()
        lam = self.lam or problem.unary.shape[-1]
        if self.adaptive is not None:
            lam = max(self.adaptive.value(problem.unary), 1e-6)
        host, right = (problem, positives) if self.solver == "sinkhorn" else on_host(problem, positives)
        matching, target = self.sample(host, right, lam, generator, edge_noise)
        if self.adaptive is not None and self.training:
            self.adaptive.update(matching, target)
        value = hamming(matching, right).mean().to(problem.unary.device, non_blocking=True)
        if self.gradient == "straight_through":
            return with_gradient_of(value, straight_through(problem, positives))
        return with_gradient_of(value, surrogate(problem, matching, target, host) / lam)

    def sample(
        self,
        problem: MatchingProblem,
        positives: Tensor,
        lam: float,
        generator: torch.Generator | None,
        edge_noise: float,
    ) -> tuple[Tensor, Tensor]:
        """Solve under noise and find the targets: matching and target, (S, P, B) int64 each."""
        num_problems, num_nodes, _ = problem.unary.shape
        if self.gradient == "blackbox":
            noisy = perturb(problem, torch.zeros(1, 1, 1, 1))
            return solve_with_target(noisy, positives, lam, self.solver)
        shape = (self.num_samples, 1 if self.shared_noise else num_problems, num_nodes, num_nodes)
        draw = gumbel(shape, generator) if self.noise_kind == "gumbel" else sum_of_gamma(shape, num_nodes, generator)
        on_edges = None
        if problem.edges is not None and edge_noise:
            num_edges = problem.edges.left[0].numel()
            on_edges = edge_noise * gumbel((self.num_samples, num_problems, num_edges, num_edges), generator)
        noisy = perturb(problem, self.noise * draw, on_edges)
        if self.gradient in ("imle", "aimle"):
            return solve_with_target(noisy, positives, lam, self.solver)
        matching = solve(noisy, self.solver).view(self.num_samples, num_problems, num_nodes)
        return matching, nearest_target(matching, positives)
