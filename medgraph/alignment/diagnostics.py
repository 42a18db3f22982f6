"""Cheap numbers that say what an alignment loss does. All detached scalars.

Letters: P pairs of node sets, B nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cosine_terms(cosines: Tensor, positives: Tensor) -> dict[str, Tensor]:
    """Summarise tables of cosines.

    Args:
        cosines: (P, B, B) float.
        positives: (P, B, B) bool, right pairs.

    Returns:
        ``match_accuracy``: share of rows whose largest cosine is a right pair; ``cos_diag``: mean cosine of a sample's
        own pair; ``cos_off``: mean cosine of all wrong pairs (zero if there are none).
    """
    cosines = cosines.detach().float()
    best = cosines.argmax(-1, keepdim=True)
    wrong = ~positives
    return {
        "match_accuracy": positives.gather(-1, best).float().mean(),
        "cos_diag": cosines.diagonal(dim1=-2, dim2=-1).mean(),
        "cos_off": torch.where(wrong, cosines, 0.0).sum() / wrong.sum().clamp(min=1),
    }
