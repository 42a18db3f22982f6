"""Balanced soft assignment of samples to prototypes, as in SwAV: shared by heads that compare codes.

Letters: B samples, M prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def balanced_codes(scores: Tensor, epsilon: float, iterations: int, prior: Tensor | None = None) -> Tensor:
    """Assign samples to prototypes so that every prototype is used as often as the prior says.

    Caron et al., arXiv:2006.09882, Section 3.1: Sinkhorn scaling, the samples last.

    Args:
        scores: (B, M) float.
        epsilon: softness, in (0, inf).
        iterations: scalings of prototypes and samples.
        prior: (M,) shares that sum to one; None for equal shares.

    Returns:
        (B, M) float, rows sum to one, without gradient.
    """
    shares = torch.zeros_like(scores[0]) if prior is None else prior.log()
    log_codes = scores / epsilon
    for _ in range(iterations):
        log_codes = log_codes - log_codes.logsumexp(0) + shares
        log_codes = log_codes.log_softmax(1)
    return log_codes.exp()


def swapped_prediction(scores: tuple[Tensor, Tensor], codes: tuple[Tensor, Tensor], temperature: float) -> Tensor:
    """Predict the codes of one side from the scores of the other: the mean of both cross-entropies.

    Args:
        scores: of either side, (B, M) each.
        codes: of either side, (B, M) each.
        temperature: of the predictions.

    Returns:
        Scalar ≥ 0.
    """
    first, second = ((score / temperature).log_softmax(1) for score in scores)
    return -((codes[1] * first).sum(1) + (codes[0] * second).sum(1)).mean() / 2
