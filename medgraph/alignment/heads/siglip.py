"""SigLIP: every pair of the batch is a yes-or-no question.

Letters: B nodes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale


class SigLIPHead(ImageTextHead):
    r"""Sigmoid loss over all pairs.

    .. math:: L = -\tfrac1B \sum_{ij} \log \sigma\big( y_{ij} (t\, s_{ij} + b) \big), \qquad y = 2I - 1

    averaged over the text views; duplicates of a sample are left out. Zhai et al., arXiv:2303.15343.

    Args:
        temperature: 1/t at the start.
        bias: b at the start; -10 makes the many negatives cheap before anything is learnt.
    """

    uses_tokens = False

    def __init__(self, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.bias = bias
        self.scale = LearntScale(temperature)
        self.offset = nn.Parameter(torch.tensor([bias]))

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        cosines = F.normalize(image.pooled, dim=-1) @ F.normalize(text.pooled, dim=-1).T
        identity = torch.eye(len(cosines), device=cosines.device)
        losses = -F.logsigmoid((2 * identity - 1) * (self.scale(cosines) + self.offset))
        counted = identity + ~same
        return (losses * counted).sum() / len(cosines), cosines
