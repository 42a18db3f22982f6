"""Token-level optimal transport: two samples are as similar as the best transport of their tokens.

Letters: B samples, T tokens of the image, U tokens of the text, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale, tokens_of
from medgraph.alignment.heads.infonce import info_nce


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

    mass_penalty: float | None = None  # None: all mass is transported

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
        plan = transport(1 - cosines.detach(), patch_mask, word_mask, self.epsilon, self.iterations, self.mass_penalty)
        scores = (plan * cosines).sum((-1, -2))
        return info_nce(self.scale(scores), same, self.symmetric), scores


@torch.no_grad()
def transport(
    cost: Tensor,
    rows: Tensor,
    columns: Tensor,
    epsilon: float,
    iterations: int,
    mass_penalty: float | None = None,
) -> Tensor:
    r"""Solve entropic transport between the tokens of all pairs of samples.

    .. math:: \min_T \langle T, C \rangle + \epsilon \sum T (\log T - 1)
        + \rho\, \mathrm{KL}(T 1 \| a) + \rho\, \mathrm{KL}(T^\top 1 \| b)

    with hard marginals for ρ → ∞. Chizat et al., Mathematics of Computation 2018.

    Args:
        cost: (B, B, T, U) float.
        rows: (B, T) bool, real tokens on the left, at least one a sample.
        columns: (B, U) bool, real tokens on the right, at least one a sample.
        epsilon: ε.
        iterations: scalings of rows and columns, at least 1.
        mass_penalty: ρ, or None for hard marginals.

    Returns:
        (B, B, T, U) plan, zero at padding; of total mass one for hard marginals.
    """
    a, b = (torch.log(mask / mask.sum(-1, keepdim=True).to(cost)) for mask in (rows, columns))
    a, b = a[:, None, :], b[None, :, :]
    damping = 1.0 if mass_penalty is None else mass_penalty / (mass_penalty + epsilon)
    kernel = -cost / epsilon
    f = torch.zeros_like(kernel[..., 0])
    g = torch.zeros_like(kernel[..., 0, :]).masked_fill(~columns[None], -torch.inf)
    for _ in range(iterations):
        f = damping * (a - (kernel + g.unsqueeze(-2)).logsumexp(-1))
        g = damping * (b - (kernel + f.unsqueeze(-1)).logsumexp(-2))
    return (kernel + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()
