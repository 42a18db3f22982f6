"""Base of the heads that compare the image with one text view at a time.

Letters: B nodes, T tokens, D width.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from medgraph.alignment.diagnostics import cosine_terms, match_table
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput, NodeSet
from medgraph.alignment.losses import same_content

MAX_SCALE = 100.0  # cap of a learnt inverse temperature, as in CLIP


class ImageTextHead(AlignmentHead):
    """Average a loss of image and text over the text views and report the scores."""

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image and at least one text view, (B, D) each.

        Returns:
            Loss; terms ``match_accuracy`` (image → text), ``cos_diag``, ``cos_off`` of the scores; the best match of
            every image, averaged over the texts.
        """
        image = nodes.image
        losses, scores, positives = [], [], []
        for text in nodes.texts.values():
            same = same_content(len(image.pooled), image.ids, text.ids, device=image.pooled.device)
            loss, score = self.pair_loss(image, text, same)
            losses.append(loss)
            scores.append(score.detach())
            positives.append(same)
        table = torch.stack(scores)
        terms = cosine_terms(table, torch.stack(positives))
        return AlignmentOutput(torch.stack(losses).mean(), terms, match_table(table.argmax(-1)))

    @abstractmethod
    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """Compare the image with one text.

        Args:
            image: float32 nodes.
            text: float32 nodes.
            same: (B, B) bool, True at the diagonal and at duplicates, which are not negatives.

        Returns:
            Scalar loss and the (B, B) scores of image i and text j, without the temperature.
        """


class LearntScale(nn.Module):
    """An inverse temperature that is trained in the log domain and kept at most 100, as in CLIP.

    Args:
        temperature: start, in (0, inf).
        trainable: False keeps the start.
    """

    def __init__(self, temperature: float, trainable: bool = True) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive; 0.1 is a good start")
        # one entry, not a scalar, which FSDP2 refuses to shard
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]), requires_grad=trainable)

    def forward(self, scores: Tensor) -> Tensor:
        """Divide scores by the temperature."""
        return scores * self.log_scale.float().exp().clamp(max=MAX_SCALE)


def tokens_of(nodes: NodeSet) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, D) and their mask (B, T); the pooled node as the only token where a caller has no tokens."""
    if nodes.tokens is None:
        return nodes.pooled.unsqueeze(1), torch.ones_like(nodes.pooled[:, :1], dtype=torch.bool)
    if nodes.mask is None:
        return nodes.tokens, torch.ones_like(nodes.tokens[..., 0], dtype=torch.bool)
    return nodes.tokens, nodes.mask
