"""Token-level optimal transport: two samples are as similar as the best transport of their tokens.

Letters: B samples, T tokens of the image, U tokens of the text, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale, tokens_of
from medgraph.alignment.heads.infonce import info_nce
from medgraph.alignment.transport import transport_similarity


class TokenOTHead(ImageTextHead):
    r"""InfoNCE on transported token similarities.

    .. math:: S_{ij} = \sum_{tu} T^*_{tu} \cos(v_{it}, w_{ju}), \qquad
        T^* = \arg\min_{T 1 = a,\, T^\top 1 = b} \langle T, 1 - \cos \rangle - \epsilon \,\text{entropy}(T)

    with a, b uniform over real tokens and no gradient through T*. The form of ExGra-Med's baseline, after PLOT
    (arXiv:2210.01253). Where a caller has no tokens, a sample is its pooled node. Needs B²·T·U numbers a text view.

    Args:
        epsilon: ε of the entropy, in (0, inf).
        iterations: Sinkhorn iterations.
        temperature: of the logits at the start.
        symmetric: both directions; False keeps image → text only.
    """

    mass_penalty = math.inf  # all mass is transported

    def __init__(
        self, epsilon: float = 0.1, iterations: int = 100, temperature: float = 0.1, symmetric: bool = True
    ) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon={epsilon} must be positive; PLOT uses 0.1")
        self.epsilon = epsilon
        self.iterations = iterations
        self.temperature = temperature
        self.symmetric = symmetric
        self.scale = LearntScale(temperature)

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        (patches, patch_mask), (words, word_mask) = tokens_of(image), tokens_of(text)
        cosines = torch.einsum("itd,jud->ijtu", F.normalize(patches, dim=-1), F.normalize(words, dim=-1))
        patch_mass, word_mass = (mask / mask.sum(-1, keepdim=True) for mask in (patch_mask, word_mask))
        penalty = (self.mass_penalty, self.mass_penalty)
        scores = transport_similarity(
            cosines, self.epsilon, penalty, patch_mass[:, None], word_mass[None], self.iterations
        )
        return info_nce(self.scale(scores), same, self.symmetric), scores
