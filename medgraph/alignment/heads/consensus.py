"""InfoNCE on consensus logits: a pair counts for more where the neighbours of both sides agree.

Letters: B nodes, K neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medgraph.alignment.graph import knn, standardize
from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale
from medgraph.alignment.heads.infonce import info_nce


class ConsensusHead(ImageTextHead):
    r"""Spread the scores over the k-NN graphs of both views, then classify as InfoNCE does.

    .. math:: S' = S + w\, A_v S A_t^\top, \qquad (A)_{ij} = \tfrac1K [j \in \mathrm{kNN}(i)]

    S are cosines of centred nodes; the graphs carry no gradient. One step of the neighbourhood consensus of graph
    matching (Fey et al., arXiv:2001.09621) in closed form. ``weight=0`` is ``infonce``.

    Args:
        k: K, neighbours of a node; smaller batches use B - 1.
        weight: w, at least 0.
        temperature: τ at the start, in (0, inf).
        learn_temperature: train 1/τ.
    """

    uses_tokens = False

    def __init__(
        self, k: int = 5, weight: float = 1.0, temperature: float = 0.1, learn_temperature: bool = True
    ) -> None:
        super().__init__()
        if k < 1 or weight < 0:
            raise ValueError(f"k={k}, weight={weight}: expected k at least 1 and weight at least 0")
        self.k = k
        self.weight = weight
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.scale = LearntScale(temperature, learn_temperature)

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`; the scores are S'."""
        images, texts = standardize(image.pooled), standardize(text.pooled)
        cosines = images @ texts.T
        scores = cosines + self.weight * self.adjacency(images) @ cosines @ self.adjacency(texts).T
        return info_nce(self.scale(scores), same), scores

    @torch.no_grad()
    def adjacency(self, nodes: Tensor) -> Tensor:
        """Row-normalised (B, B) adjacency of the k-NN graph of (B, D) nodes; zero for a single node."""
        matrix = nodes.new_zeros(len(nodes), len(nodes))
        neighbors = knn(nodes, self.k)
        return matrix.scatter_(1, neighbors, 1.0 / max(1, neighbors.shape[1]))
