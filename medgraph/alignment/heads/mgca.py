"""MGCA: alignment of samples, of their tokens, and of the prototypes they belong to.

Letters: B samples, T tokens, U tokens of the other side, D width, M prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, tokens_of
from medgraph.alignment.heads.codes import balanced_codes, swapped_prediction
from medgraph.alignment.heads.infonce import info_nce

FAR = -1e9  # logit of padding; finite, so that a column of padding only has no NaN


class MGCAHead(ImageTextHead):
    r"""Multi-granularity cross-modal alignment.

    .. math:: L = w_1 L_\text{instance} + w_2 L_\text{token} + w_3 L_\text{prototype}

    Instances: both directions of InfoNCE, added. Tokens: a word must be nearest to the patches it attends to, and a
    patch to its words. Prototypes: the balanced code of the image is predicted from the text, and the other way round.
    Wang et al., arXiv:2210.06044. Nodes are compared as they come, without further projections, and all real tokens
    weigh the same (the paper weighs them by the attention of its encoders).

    Args:
        instance_weight: w₁ ≥ 0.
        token_weight: w₂ ≥ 0.
        prototype_weight: w₃ ≥ 0.
        temperature: of the instance term.
        token_temperature: of the token term.
        prototype_temperature: of the predictions of codes.
        num_prototypes: M.
        epsilon: softness of the codes.
        iterations: Sinkhorn iterations of the codes.
    """

    def __init__(
        self,
        instance_weight: float = 1.0,
        token_weight: float = 0.7,
        prototype_weight: float = 0.5,
        temperature: float = 0.07,
        token_temperature: float = 0.1,
        prototype_temperature: float = 0.2,
        num_prototypes: int = 500,
        epsilon: float = 0.05,
        iterations: int = 3,
    ) -> None:
        super().__init__()
        self.instance_weight = instance_weight
        self.token_weight = token_weight
        self.prototype_weight = prototype_weight
        self.temperature = temperature
        self.token_temperature = token_temperature
        self.prototype_temperature = prototype_temperature
        self.num_prototypes = num_prototypes
        self.epsilon = epsilon
        self.iterations = iterations
        for name in ("temperature", "token_temperature", "prototype_temperature", "epsilon"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if num_prototypes < 2:
            raise ValueError(f"num_prototypes={num_prototypes} must be at least 2; the paper uses 500")

    def setup(self, dim: int) -> None:
        """Create the prototypes.

        Args:
            dim: node width D.
        """
        self.prototypes = nn.Parameter(F.normalize(torch.randn(self.num_prototypes, dim), dim=-1))

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        images, texts = F.normalize(image.pooled, dim=-1), F.normalize(text.pooled, dim=-1)
        cosines = images @ texts.T
        instance = 2 * info_nce(cosines / self.temperature, same)
        (patches, patch_mask), (words, word_mask) = tokens_of(image), tokens_of(text)
        patches, words = F.normalize(patches, dim=-1), F.normalize(words, dim=-1)
        token = cross_attention_loss(words, patches, word_mask, patch_mask, self.token_temperature)
        token = token + cross_attention_loss(patches, words, patch_mask, word_mask, self.token_temperature)
        centres = F.normalize(self.prototypes.float(), dim=-1)
        scores = images @ centres.T, texts @ centres.T
        codes = tuple(balanced_codes(score.detach(), self.epsilon, self.iterations) for score in scores)
        prototype = swapped_prediction(scores, (codes[0], codes[1]), self.prototype_temperature)
        loss = self.instance_weight * instance + self.token_weight * token + self.prototype_weight * prototype
        return loss, cosines


def cross_attention_loss(
    queries: Tensor, keys: Tensor, query_mask: Tensor, key_mask: Tensor, temperature: float
) -> Tensor:
    """Tell which attended context belongs to which token, within every sample and both ways.

    Args:
        queries: (B, T, D), unit length.
        keys: (B, U, D), unit length, of the other side.
        query_mask: (B, T) bool.
        key_mask: (B, U) bool.
        temperature: of attention and logits.

    Returns:
        Scalar ≥ 0, the mean over real tokens, then over samples.
    """
    attention = (queries @ keys.transpose(1, 2) / temperature).masked_fill(~key_mask.unsqueeze(1), FAR).softmax(-1)
    context = F.normalize(attention @ keys, dim=-1)
    logits = queries @ context.transpose(1, 2) / temperature
    logits = logits.masked_fill(~(query_mask.unsqueeze(1) & query_mask.unsqueeze(2)), FAR)
    both = logits.log_softmax(2) + logits.log_softmax(1)
    weights = query_mask / query_mask.sum(1, keepdim=True)
    return -(both.diagonal(dim1=1, dim2=2) * weights).sum(1).mean() / 2
