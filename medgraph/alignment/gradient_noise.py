"""How much of a gradient is signal, and how much the noise it was estimated with.

Letters: R repetitions, G graphs (views), B nodes, D width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch

from medgraph.alignment.head import AlignmentHead, AlignmentInput


@dataclass(frozen=True, slots=True)
class GradientNoise:
    """The gradients of a head on one batch under R draws of its noise.

    Attributes:
        losses: (R,) values.
        cosines: (R,) cosine of every gradient and the mean of the others: 1 without noise, 0 where it is all noise.
        signal: share of the mean squared length of a gradient that belongs to its expectation, at most 1; an unbiased
            estimate of both, so slightly below 0 where there is none.
    """

    losses: list[float]
    cosines: list[float]
    signal: float


def gradient_noise(head: AlignmentHead, nodes: AlignmentInput, repetitions: int = 16, seed: int = 0) -> GradientNoise:
    r"""Repeat loss and gradient of one batch with other noise.

    .. math:: \text{signal} = \frac{\sum_{r \ne s} \langle g_r, g_s \rangle / (R (R - 1))}{\sum_r \|g_r\|^2 / R}

    over the gradients to the nodes of all views, (G, B, D).

    Args:
        head: set up; stays as it is.
        nodes: the batch; its own generator is not used.
        repetitions: R, at least 2.
        seed: of the noise.

    Raises:
        ValueError: if R < 2, or the head sends no gradient to the nodes.

    Example:
        >>> from medgraph.alignment.check import random_nodes
        >>> from medgraph.alignment.heads.infonce import InfoNCEHead
        >>> round(gradient_noise(InfoNCEHead(), random_nodes(), repetitions=3).signal, 4)
        1.0
    """
    if repetitions < 2:
        raise ValueError(f"a variance needs at least 2 repetitions, got {repetitions}")
    generator = torch.Generator().manual_seed(seed)
    losses, gradients = [], []
    for _ in range(repetitions):
        image, *texts = (replace(g, pooled=g.pooled.detach().clone().requires_grad_()) for g in nodes.graphs().values())
        batch = AlignmentInput(image, dict(zip(nodes.texts, texts, strict=True)), generator, nodes.entities)
        loss = copy.deepcopy(head)(batch).loss
        views = [image.pooled, *(text.pooled for text in texts)]
        found = torch.autograd.grad(loss, views, allow_unused=True, materialize_grads=True)
        losses.append(loss.item())
        gradients.append(torch.stack(found).flatten())
    table = torch.stack(gradients).double()  # (R, G·B·D)
    total = table.square().sum(1).mean()
    if not total:
        raise ValueError("the head sends no gradient to the nodes of this batch: its loss may be at its minimum")
    others = (table.sum(0) - table) / (repetitions - 1)
    cosines = torch.cosine_similarity(table, others, dim=1)
    signal = (table * others).sum(1).mean() / total
    return GradientNoise(losses, cosines.tolist(), float(signal))
