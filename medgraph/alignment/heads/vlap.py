"""VLAP: images and texts must be assigned to the same words of the language model.

Letters: B samples, M words, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead
from medgraph.alignment.heads.codes import balanced_codes, swapped_prediction


class VLAPHead(ImageTextHead):
    r"""Swapped prediction of word assignments.

    .. math:: L = -\tfrac{1}{2B} \sum_i \big[ q^t_i \cdot \log \mathrm{softmax}(C v_i / \tau)
        + q^v_i \cdot \log \mathrm{softmax}(C t_i / \tau) \big]

    with word embeddings C and codes q by Sinkhorn under the word frequencies. Park et al., arXiv:2404.09632; the paper
    adds 0.1 L to the caption loss (``alpha``). A run gives the words of its language model; without :meth:`set_words`,
    C is a fixed random set of anchors.

    Args:
        temperature: τ in (0, inf).
        epsilon: softness of the codes.
        iterations: Sinkhorn iterations.
        num_anchors: random anchors where no words are given.
    """

    words: Tensor
    prior: Tensor

    uses_tokens = False
    wants_words = True

    def __init__(
        self, temperature: float = 0.01, epsilon: float = 0.01, iterations: int = 3, num_anchors: int = 1024
    ) -> None:
        super().__init__()
        if temperature <= 0 or epsilon <= 0:
            raise ValueError(f"temperature={temperature} and epsilon={epsilon} must be positive; the paper uses 0.01")
        self.temperature = temperature
        self.epsilon = epsilon
        self.iterations = iterations
        self.num_anchors = num_anchors

    def setup(self, dim: int) -> None:
        """Draw the random anchors.

        Args:
            dim: node width D.
        """
        generator = torch.Generator().manual_seed(0)
        anchors = torch.randn(self.num_anchors, dim, generator=generator)
        # not part of checkpoints: as many numbers as the embedding table, and made anew by every run
        self.register_buffer("words", F.normalize(anchors, dim=-1), persistent=False)
        self.register_buffer("prior", torch.full((self.num_anchors,), 1 / self.num_anchors), persistent=False)

    def set_words(self, embeddings: Tensor, counts: Tensor) -> None:
        """Use the words of a language model instead of anchors; see :class:`AlignmentHead`."""
        frequency = counts.float() / counts.sum()
        self.words = F.normalize(embeddings.detach().float(), dim=-1)
        self.prior = (frequency / 0.25).softmax(0)

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        images, texts = F.normalize(image.pooled, dim=-1), F.normalize(text.pooled, dim=-1)
        scores = images @ self.words.T, texts @ self.words.T
        codes = [balanced_codes(score.detach(), self.epsilon, self.iterations, self.prior) for score in scores]
        return swapped_prediction(scores, (codes[0], codes[1]), self.temperature), images @ texts.T
