"""InfoNCE plus a term that compares the structure within the views: distances among images with those among texts.

Letters: B nodes, D width.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from medgraph.alignment.graph import standardize
from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead, LearntScale
from medgraph.alignment.heads.infonce import info_nce

Structure = Literal["gromov_wasserstein", "kl", "cka"]


class RelationalHead(ImageTextHead):
    r"""Add the difference of two Gram matrices to InfoNCE.

    .. math:: L = L_{\mathrm{InfoNCE}} + w\, R(G_v, G_t), \qquad G_v = V V^\top,\; G_t = T T^\top

    with R by name: ``gromov_wasserstein``, the mean of :math:`(G_v - G_t)_{ij}^2` over i ≠ j, which is the squared
    Gromov-Wasserstein cost of the identity coupling (Mémoli 2011; Peyré et al. 2016); ``kl``, the mean over i of
    :math:`\mathrm{KL}(\mathrm{softmax}_j\, G_t/\tau \,\|\, \mathrm{softmax}_j\, G_v/\tau)`, j ≠ i (relational
    distillation, arXiv:1904.05068); ``cka``, 1 − linear CKA (arXiv:1905.00414). Texts are the teacher: G_t carries no
    gradient.

    Args:
        structure: R.
        weight: w, at least 0.
        temperature: τ at the start, in (0, inf).
        learn_temperature: train 1/τ.
    """

    uses_tokens = False

    def __init__(
        self,
        structure: Structure = "gromov_wasserstein",
        weight: float = 1.0,
        temperature: float = 0.1,
        learn_temperature: bool = True,
    ) -> None:
        super().__init__()
        if structure not in get_args(Structure):
            raise ValueError(f"structure={structure!r} is unknown; choose one of {', '.join(get_args(Structure))}")
        if weight < 0:
            raise ValueError(f"weight={weight} is below its minimum 0")
        self.structure = structure
        self.weight = weight
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.scale = LearntScale(temperature, learn_temperature)

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        images, texts = standardize(image.pooled), standardize(text.pooled)
        cosines = images @ texts.T
        loss = info_nce(self.scale(cosines), same)
        if len(images) > 2:  # two nodes have one distance: no structure
            loss = loss + self.weight * self.difference(images @ images.T, (texts @ texts.T).detach())
        return loss, cosines

    def difference(self, images: Tensor, texts: Tensor) -> Tensor:
        """R of two (B, B) Gram matrices, a scalar ≥ 0."""
        if self.structure == "cka":
            cross, own = (images * texts).sum(), images.square().sum().sqrt() * texts.square().sum().sqrt()
            return 1 - cross / own.clamp(min=1e-12)
        others = ~torch.eye(len(images), dtype=torch.bool, device=images.device)
        images, texts = (gram[others].view(len(gram), -1) for gram in (images, texts))
        if self.structure == "gromov_wasserstein":
            return (images - texts).square().mean()
        student, teacher = self.scale(images).log_softmax(-1), self.scale(texts).detach().log_softmax(-1)
        return (teacher.exp() * (teacher - student)).sum(-1).mean()
