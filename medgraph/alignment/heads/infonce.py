"""InfoNCE between images and texts: the baseline every alignment loss has to beat.

Letters: B nodes, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.diagnostics import cosine_terms
from medgraph.alignment.graph import standardize
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.losses import same_content

MAX_SCALE = 100.0  # cap of the inverse temperature, as in CLIP


class InfoNCEHead(AlignmentHead):
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

    def __init__(
        self,
        temperature: float = 0.1,
        learn_temperature: bool = True,
        symmetric: bool = True,
        center: bool = True,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive; 0.1 is a good start")
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.symmetric = symmetric
        self.center = center
        log_scale = torch.tensor(-math.log(temperature))
        self.log_scale = nn.Parameter(log_scale, requires_grad=learn_temperature)

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image (B, D) and at least one text view (B, D).

        Returns:
            Loss; terms ``temperature``, ``match_accuracy`` (image → text), ``cos_diag``, ``cos_off``.
        """
        with torch.amp.autocast(nodes.image.pooled.device.type, enabled=False):
            scale = self.log_scale.float().exp().clamp(max=MAX_SCALE)
            normalize = standardize if self.center else F.normalize
            image = normalize(nodes.image.pooled.float())
            losses, cosines, positives = [], [], []
            for text in nodes.texts.values():
                cosine = image @ normalize(text.pooled.float()).T
                same = same_content(len(image), nodes.image.ids, text.ids, device=image.device)
                losses.append(info_nce(scale * cosine, same, self.symmetric))
                cosines.append(cosine.detach())
                positives.append(same)
            terms = {"temperature": 1 / scale.detach()} | cosine_terms(torch.stack(cosines), torch.stack(positives))
            return AlignmentOutput(torch.stack(losses).mean(), terms)


def info_nce(logits: Tensor, same: Tensor, symmetric: bool = True) -> Tensor:
    """Cross-entropy of the diagonal, without the duplicates of a sample among its negatives.

    Args:
        logits: (B, B) float.
        same: (B, B) bool, symmetric, True at the diagonal and at duplicates.
        symmetric: average over rows and columns; rows only otherwise.

    Returns:
        Scalar ≥ 0.
    """
    duplicate = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = logits.masked_fill(duplicate, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    rows = F.cross_entropy(logits, target)
    return (rows + F.cross_entropy(logits.T, target)) / 2 if symmetric else rows
