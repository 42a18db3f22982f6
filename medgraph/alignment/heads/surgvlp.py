"""SurgVLP: one text as in InfoNCE, the others as a bag of which any may fit.

Letters: B nodes, N texts of a bag.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.diagnostics import cosine_terms, match_table
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.heads.base import LearntScale
from medgraph.alignment.heads.infonce import info_nce, without_duplicates
from medgraph.alignment.losses import same_content


class SurgVLPHead(AlignmentHead):
    r"""InfoNCE with the first text view plus MIL-NCE with the others.

    .. math:: L = \text{InfoNCE}(v, t^1) - \tfrac1B \sum_i \log
        \frac{\sum_{n} e^{s^n_{ii}/\tau}}{\sum_{j} \sum_{n} e^{s^n_{ij}/\tau}}

    Yuan et al., arXiv:2307.15220; MIL-NCE: Miech et al., arXiv:1912.06430. With one text view it is InfoNCE.

    Args:
        temperature: τ at the start, in (0, inf).
        learn_temperature: train 1/τ.
    """

    uses_tokens = False

    def __init__(self, temperature: float = 0.1, learn_temperature: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.scale = LearntScale(temperature, learn_temperature)

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image (B, D) and at least one text view (B, D).

        Returns:
            Loss; terms ``infonce`` and ``mil_nce``, ``match_accuracy``, ``cos_diag``, ``cos_off``.
        """
        image = F.normalize(nodes.image.pooled, dim=-1)
        texts = list(nodes.texts.values())
        cosines = torch.stack([image @ F.normalize(text.pooled, dim=-1).T for text in texts])
        ids = (nodes.image.ids, *(text.ids for text in texts))
        same = same_content(len(image), *ids, device=image.device)
        first = info_nce(self.scale(cosines[0]), same)
        bag = mil_nce(self.scale(cosines[1:]), same) if len(texts) > 1 else first.new_zeros(())
        terms = {"infonce": first.detach(), "mil_nce": bag.detach()}
        terms |= cosine_terms(cosines, same.expand_as(cosines))
        return AlignmentOutput(first + bag, terms, match_table(cosines.argmax(-1)))


def mil_nce(logits: Tensor, same: Tensor) -> Tensor:
    """Negative log-likelihood that some text of the own bag fits.

    Args:
        logits: (N, B, B) float.
        same: (B, B) bool, duplicates, which are no negatives.

    Returns:
        Scalar ≥ 0.
    """
    bags = without_duplicates(logits.logsumexp(0), same)
    return (bags.logsumexp(-1) - bags.diagonal()).mean()
