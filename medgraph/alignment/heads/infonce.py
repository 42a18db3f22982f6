"""InfoNCE between images and texts: the baseline every alignment loss has to beat.

Letters: B nodes, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.graph import standardize
from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale


class InfoNCEHead(ImageTextHead):
    r"""Classify, for every image, its own text among those of the batch, and the other way round.

    .. math:: L = -\tfrac{1}{2B} \sum_i \Big[ \log \frac{e^{s_{ii}/\tau}}{\sum_{j} e^{s_{ij}/\tau}}
        + \log \frac{e^{s_{ii}/\tau}}{\sum_{j} e^{s_{ji}/\tau}} \Big]

    averaged over the text views; s are cosines. Samples with the same image or the same text are left out of the
    denominator of one another. Oord et al., arXiv:1807.03748; Radford et al. (CLIP), arXiv:2103.00020.

    Args:
        temperature: τ at the start, in (0, inf).
        learn_temperature: train 1/τ (kept at most 100, as in CLIP).
        symmetric: both directions; False keeps image → text only, as ExGra-Med's baseline does.
        center: subtract the mean node of each view first, see :func:`medgraph.alignment.graph.standardize`.
    """

    uses_tokens = False

    def __init__(
        self,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        symmetric: bool = True,
        center: bool = True,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.symmetric = symmetric
        self.center = center
        self.scale = LearntScale(temperature, learn_temperature)

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        normalize = standardize if self.center else F.normalize
        cosines = normalize(image.pooled) @ normalize(text.pooled).T
        return info_nce(self.scale(cosines), same, self.symmetric), cosines


def info_nce(logits: Tensor, same: Tensor, symmetric: bool = True) -> Tensor:
    """Cross-entropy of the diagonal, without the duplicates of a sample among its negatives.

    Args:
        logits: (B, B) float.
        same: (B, B) bool, symmetric, True at the diagonal and at duplicates.
        symmetric: average over rows and columns; rows only otherwise.

    Returns:
        Scalar ≥ 0.
    """
    logits = without_duplicates(logits, same)
    target = torch.arange(len(logits), device=logits.device)
    rows = F.cross_entropy(logits, target)
    return (rows + F.cross_entropy(logits.T, target)) / 2 if symmetric else rows


def without_duplicates(logits: Tensor, same: Tensor) -> Tensor:
    """Set the logits of duplicates other than the sample itself to minus infinity: (B, B) → (B, B)."""
    duplicate = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    return logits.masked_fill(duplicate, -torch.inf)
