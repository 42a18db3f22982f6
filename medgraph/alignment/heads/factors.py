"""InfoNCE with soft targets from the metadata: how much could structure help if it were known?

Letters: B nodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medgraph.alignment.diagnostics import cosine_terms
from medgraph.alignment.graph import standardize
from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.heads.base import LearntScale
from medgraph.alignment.heads.soft_infonce import soft_info_nce
from medgraph.alignment.losses import same_content


class FactorsHead(AlignmentHead):
    r"""Symmetric cross-entropy to targets that know modality, area, task and label of every sample.

    .. math:: L = \tfrac12 \big[ H(Y, \mathrm{softmax}(S/\tau)) + H(Y, \mathrm{softmax}(S^\top/\tau)) \big], \qquad
        Y = (1-\lambda) I + \lambda\, \mathrm{rownorm}(F)

    averaged over the text views; F_ij is the share of the known entities that i and j have in common, without
    i = j. An oracle, not a method, and so without a short name: it bounds what a graph of the batch can add to
    InfoNCE. If it gains nothing on a data set, a head that must estimate the structure has nothing to gain there.

    Args:
        softness: λ in [0, 1].
        temperature: τ at the start, in (0, inf).
        learn_temperature: train 1/τ.
    """

    uses_tokens = False

    def __init__(self, softness: float = 0.3, temperature: float = 0.1, learn_temperature: bool = True) -> None:
        super().__init__()
        if not 0 <= softness <= 1:
            raise ValueError(f"softness={softness} is outside [0, 1]")
        self.softness = softness
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.scale = LearntScale(temperature, learn_temperature)

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image and at least one text view, (B, D) each, with ``entities``.

        Returns:
            Loss; terms ``match_accuracy`` (image → text), ``cos_diag``, ``cos_off``.

        Raises:
            ValueError: if the batch has no entities.
        """
        if not nodes.entities:
            raise ValueError("FactorsHead needs AlignmentInput.entities (modality, area, task, label of every sample)")
        image = standardize(nodes.image.pooled)
        target = self.targets(torch.stack(list(nodes.entities.values())))
        losses, scores, positives = [], [], []
        for text in nodes.texts.values():
            cosines = image @ standardize(text.pooled).T
            losses.append(soft_info_nce(self.scale(cosines), target))
            scores.append(cosines.detach())
            positives.append(same_content(len(image), nodes.image.ids, text.ids, device=image.device))
        return AlignmentOutput(torch.stack(losses).mean(), cosine_terms(torch.stack(scores), torch.stack(positives)))

    def targets(self, codes: Tensor) -> Tensor:
        """Y of E entities: (E, B) int64, -1 unknown → (B, B) float with rows that sum to 1."""
        equal = (codes.unsqueeze(2) == codes.unsqueeze(1)) & (codes >= 0).unsqueeze(2)
        identity = torch.eye(codes.shape[1], device=codes.device)
        shared = equal.float().mean(0) * (1 - identity)
        total = shared.sum(1, keepdim=True)
        soft = torch.where(total > 0, shared / total.clamp(min=1e-12), identity)  # nobody alike: the sample itself
        return (1 - self.softness) * identity + self.softness * soft
