"""ConVIRT: InfoNCE after projection heads, weighted between the two directions.

Letters: B nodes, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.head import NodeSet
from medgraph.alignment.heads.base import ImageTextHead
from medgraph.alignment.heads.infonce import without_duplicates


class ConVIRTHead(ImageTextHead):
    r"""Contrast images and texts in a projected space.

    .. math:: L = \lambda\, \ell^{v \to t} + (1 - \lambda)\, \ell^{t \to v}, \qquad
        \ell^{v \to t} = -\tfrac1B \sum_i \log \frac{e^{s_{ii}/\tau}}{\sum_k e^{s_{ik}/\tau}}

    averaged over the text views; duplicates are left out of the denominators. Zhang et al., arXiv:2010.00747.

    Args:
        temperature: τ in (0, inf), fixed.
        image_weight: λ in [0, 1], weight of image → text.
        projection: width of the shared space; 0 compares nodes as they come, for encoders that have projections.
    """

    uses_tokens = False

    def __init__(self, temperature: float = 0.1, image_weight: float = 0.75, projection: int = 512) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive; the paper uses 0.1")
        if not 0 <= image_weight <= 1:
            raise ValueError(f"image_weight={image_weight} is outside [0, 1]; the paper uses 0.75")
        if projection < 0:
            raise ValueError(f"projection={projection} is below its minimum 0, which is no projection")
        self.temperature = temperature
        self.image_weight = image_weight
        self.projection = projection

    def setup(self, dim: int) -> None:
        """Create one two-layer projection for images and one for texts.

        Args:
            dim: node width D.
        """
        width = self.projection
        self.image_projection, self.text_projection = (
            nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width)) if width else nn.Identity()
            for _ in range(2)
        )

    def pair_loss(self, image: NodeSet, text: NodeSet, same: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageTextHead`."""
        images = F.normalize(self.image_projection(image.pooled), dim=-1)
        cosines = images @ F.normalize(self.text_projection(text.pooled), dim=-1).T
        logits = without_duplicates(cosines / self.temperature, same)
        target = torch.arange(len(logits), device=logits.device)
        to_text, to_image = F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
        return self.image_weight * to_text + (1 - self.image_weight) * to_image, cosines
