"""Entropic optimal transport, balanced and unbalanced, for many small problems at once.

Batched torch operations with a fixed number of iterations: no copy to the host, and differentiable. Every `BLOCK`
iterations one is done in the log domain and the logarithms of the scalings are taken into the kernel (Schmitzer,
arXiv:1610.06519); those between are products of the kernel with vectors, which is what makes them fast.
`medgraph.alignment.sinkhorn` is the square case in which every node has the mass one.

Letters: M rows, N columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 25
NO_MASS = -1e30
"""Logarithm of a mass of zero: finite, so that gradients are."""


def transport_plan(
    costs: Tensor,
    epsilon: float,
    relaxation: tuple[float, float] = (math.inf, math.inf),
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    iterations: int = 100,
) -> Tensor:
    r"""Move mass between rows and columns at the least cost.

    .. math:: \min_T \langle T, C \rangle + \varepsilon \sum T (\log T - 1)
              + \rho_1 \mathrm{KL}(T 1 \| a) + \rho_2 \mathrm{KL}(T^\top 1 \| b)

    by the scalings :math:`u \leftarrow (a / K w)^{\rho_1 / (\rho_1 + \varepsilon)}` and
    :math:`w \leftarrow (b / K^\top u)^{\rho_2 / (\rho_2 + \varepsilon)}` with :math:`K = e^{-C / \varepsilon}` (Chizat
    et al., arXiv:1607.05816). An infinite ρ fixes the marginal; with both infinite this is Sinkhorn's algorithm.

    Args:
        costs: (…, M, N) float.
        epsilon: weight of the entropy, above 0, in the unit of the costs.
        relaxation: ρ₁ of the rows and ρ₂ of the columns, above 0, in the unit of the costs.
        rows: (…, M) masses a, at least 0; a row of mass 0 takes no part, which is how padding is left out. Default 1/M.
        columns: (…, N) masses b, likewise; default 1/N.
        iterations: scalings of rows and columns; the last one is over the columns.

    Returns:
        (…, M, N) plan, in the dtype of the costs.

    Raises:
        ValueError: if epsilon, a relaxation or the number of iterations is not above 0.

    Example:
        >>> costs = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> transport_plan(costs, epsilon=0.1)
        tensor([[4.9998e-01, 2.2699e-05],
                [2.2699e-05, 4.9998e-01]])
    """
    for name, value in (("epsilon", epsilon), ("relaxation", min(relaxation)), ("iterations", iterations)):
        if not value > 0:
            raise ValueError(f"{name}={value}: transport needs a value above 0")
    scores = -costs / epsilon
    log_a = -math.log(costs.shape[-2]) if rows is None else _log_masses(rows, costs).unsqueeze(-1)
    log_b = -math.log(costs.shape[-1]) if columns is None else _log_masses(columns, costs).unsqueeze(-2)
    row_power, column_power = (1 / (1 + epsilon / rho) for rho in relaxation)
    tiny = torch.finfo(costs.dtype).tiny
    w = torch.zeros_like(scores[..., :1, :])
    if columns is not None:  # before convergence the plan depends on where it starts: not on how much padding there is
        w = w.masked_fill(columns.unsqueeze(-2) == 0, NO_MASS)
    for start in range(0, iterations, BLOCK):
        u = row_power * (log_a - (scores + w).logsumexp(-1, keepdim=True))
        w = column_power * (log_b - (scores + u).logsumexp(-2, keepdim=True))
        kernel = (scores + u + w).exp()  # (…, M, N)
        x_offset = row_power * log_a - (1 - row_power) * u  # (…, M, 1)
        y_offset = (column_power * log_b - (1 - column_power) * w).mT  # (…, N, 1)
        x, y = torch.ones_like(u), torch.ones_like(w).mT
        for _ in range(min(BLOCK, iterations - start) - 1):
            x = (x_offset - row_power * (kernel @ y).clamp(min=tiny).log()).exp()
            y = (y_offset - column_power * (kernel.mT @ x).clamp(min=tiny).log()).exp()
        w = w + y.clamp(min=tiny).log().mT
    return kernel * x * y.mT


def _log_masses(masses: Tensor, costs: Tensor) -> Tensor:
    """Logarithms, finite for masses of zero too."""
    return masses.to(costs.dtype).log().clamp(min=NO_MASS)


def transport_similarity(
    similarity: Tensor,
    epsilon: float = 0.1,
    relaxation: tuple[float, float] = (math.inf, math.inf),
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    iterations: int = 100,
    detach: bool = True,
) -> Tensor:
    """Similarity of two sets: their entries, weighted by the plan of the costs one minus similarity.

    PLOT (arXiv:2210.01253) with fixed marginals; Dude (arXiv:2407.04489) relaxes them, so that what fits nothing on the
    other side carries less mass.

    Args:
        similarity: (…, M, N) float, cosines.
        epsilon: see `transport_plan`; likewise the arguments that follow.
        relaxation: ρ₁, ρ₂.
        rows: (…, M) masses.
        columns: (…, N) masses.
        iterations: scalings.
        detach: take the plan as a constant, as PLOT does; False also differentiates it, through all iterations.

    Returns:
        (…) float.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        plan = transport_plan(1 - similarity, epsilon, relaxation, rows, columns, iterations)
    return (plan * similarity).sum((-2, -1))
