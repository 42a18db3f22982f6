"""My alignment loss: what it pulls together, in one line (arXiv:XXXX.XXXXX, Eq. n).

Works from a folder of your own as it is:

    lightning run experiments/exgra_10pct.py alignment=head.MyHead alignment.temperature=0.2

To add it to MedGraph: medgraph/alignment/heads/my_head.py, a line in `HEADS` of medgraph/alignment/registry.py (with
it tests/alignment/heads/test_all_heads.py checks what every head promises), a test of its mathematics against a slow
reference beside that, and a row in docs/alignment.md.

Letters: B samples, D node width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.losses import same_content


class MyHead(AlignmentHead):
    r"""Classify, for every image, its own text among those of the batch.

    .. math:: L = -\frac{1}{B} \sum_i \log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}}

    averaged over the text views; s are cosines.

    Args:
        temperature: τ, in (0, inf).
    """

    uses_tokens = False  # reads pooled nodes only

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive; 0.1 is a good start")
        self.temperature = temperature  # every option is stored under its own name

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Compute the loss.

        Args:
            nodes: image and at least one text view, (B, D) each.

        Returns:
            Loss; one term a text view.
        """
        image = F.normalize(nodes.image.pooled, dim=-1)
        own = torch.arange(len(image), device=image.device)
        losses = {}
        for name, text in nodes.texts.items():
            scores = image @ F.normalize(text.pooled, dim=-1).T / self.temperature  # (B, B)
            same = same_content(len(image), nodes.image.ids, text.ids, device=image.device)
            same[own, own] = False
            losses[name] = F.cross_entropy(scores.masked_fill(same, -torch.inf), own)  # duplicates are no negatives
        return AlignmentOutput(torch.stack([*losses.values()]).mean(), {k: v.detach() for k, v in losses.items()})
