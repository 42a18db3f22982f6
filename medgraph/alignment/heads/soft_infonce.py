"""InfoNCE with soft targets: similar texts are half-right answers, not negatives.

Letters: B nodes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.graph import standardize
from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale


class SoftInfoNCEHead(ImageTextHead):
    r"""Symmetric cross-entropy to a mixture of the identity and text-to-text similarity.

    .. math:: L = \tfrac12 \big[ H(Y, \mathrm{softmax}(S/\tau)) + H(Y, \mathrm{softmax}(S^\top/\tau)) \big], \qquad
        Y = (1-\lambda) I + \lambda\, \mathrm{softmax}(T T^\top / \tau)

    The targets carry no gradient. In the manner of MedCLIP (arXiv:2210.10163) and SoftCLIP (arXiv:2303.17561).

    Args:
        softness: λ in [0, 1]; 0 is InfoNCE with duplicates as negatives.
        temperature: τ at the start, in (0, inf).
        learn_temperature: train 1/τ.
    """

    uses_tokens = False

    def __init__(self, softness: float = 0.3, temperature: float = 0.1, learn_temperature: bool = True) -> None:
        super().__init__()
        if not 0 <= softness <= 1:
            raise ValueError(f"softness={softness} is outside [0, 1]")
        self.softness = softness
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.scale = LearntScale(temperature, learn_temperature)

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        texts = standardize(text.pooled)
        cosines = standardize(image.pooled) @ texts.T
        with torch.no_grad():
            similar = self.scale(texts @ texts.T).softmax(-1)
            identity = torch.eye(len(similar), device=similar.device)
            target = (1 - self.softness) * identity + self.softness * similar
        return soft_info_nce(self.scale(cosines), target), cosines


def soft_info_nce(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy to soft targets, averaged over rows and columns.

    Args:
        logits: (B, B) float.
        target: (B, B) float, rows sum to one, for both directions.

    Returns:
        Scalar ≥ 0.
    """
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
