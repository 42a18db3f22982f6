"""What all methods have in common, and the baselines: SimCLR, BYOL and VICReg.

Letters: V views, B images, C width of the projection, M cells, D width of the tower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.alignment.losses import same_content
from medgraph.pretraining.options import BaselineOptions


@dataclass(slots=True)
class EncodedViews:
    """A batch of views behind tower and projector.

    Attributes:
        projected: (V, B, C) float.
        maps: (V, B, M, D) float, the tower's features cell by cell.
        boxes: (V, B, 4) float, see `medgraph.pretraining.data.ViewBatch`.
        flips: (V, B) bool.
        image_ids: (B,) int64; equal for the same image.
        generator: source of noise, on the CPU.
        targets: (V, B, C) float, what the averaged networks of the past say; for methods that want it.
    """

    projected: Tensor
    maps: Tensor
    boxes: Tensor
    flips: Tensor
    image_ids: Tensor
    generator: torch.Generator
    targets: Tensor | None = None


class ViewLoss(nn.Module):
    """A loss on two or more views of the same images, in float32; ``forward`` gives a scalar and detached terms to log.

    Attributes:
        wants_targets: whether ``EncodedViews.targets`` is needed.
    """

    wants_targets = False

    def forward(self, views: EncodedViews) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss."""
        raise NotImplementedError


def view_pairs(num_views: int) -> list[tuple[int, int]]:
    """Pairs of views that are compared: the two large crops, and each of them with every small one.

    Example:
        >>> view_pairs(3)
        [(0, 1), (0, 2), (1, 2)]
    """
    return [(0, 1), *((large, small) for small in range(2, num_views) for large in (0, 1))]


def nt_xent(first: Tensor, second: Tensor, temperature: float, ids: Tensor | None = None) -> Tensor:
    r"""Normalised temperature-scaled cross entropy (SimCLR, arXiv:2002.05709, Eq. 1).

    .. math:: \ell_{ij} = -\log \frac{e^{s_{ij} / \tau}}{\sum_{k \ne i} e^{s_{ik} / \tau}}

    Args:
        first: (B, C) float.
        second: (B, C) float, other views of the same images.
        temperature: τ.
        ids: (B,) int64; other views of the same image are no negatives.

    Returns:
        Scalar, the mean over all 2B views.
    """
    num_images = len(first)
    nodes = F.normalize(torch.cat([first, second]), dim=-1)
    logits = nodes @ nodes.T / temperature
    same = same_content(num_images, ids, device=nodes.device).repeat(2, 2)
    partner = torch.arange(2 * num_images, device=nodes.device).roll(num_images)
    same[torch.arange(2 * num_images), partner] = False
    return F.cross_entropy(logits.masked_fill(same, -torch.inf), partner)


class SimCLR(ViewLoss):
    """Each view finds the other view of its image among those of all images, see `nt_xent`."""

    def __init__(self, width: int, options: BaselineOptions) -> None:
        super().__init__()
        self.temperature = options.temperature

    def forward(self, views: EncodedViews) -> tuple[Tensor, dict[str, Tensor]]:
        """See `ViewLoss`."""
        z = views.projected
        pairs = view_pairs(len(z))
        return torch.stack([nt_xent(z[v], z[w], self.temperature, views.image_ids) for v, w in pairs]).mean(), {}


class BYOL(ViewLoss):
    r"""A view predicts what the averaged networks of the past make of another (arXiv:2006.07733, Eq. 2).

    .. math:: L = 2 - 2 \cos(q(z_v), z'_w), \text{ in both directions}
    """

    wants_targets = True

    def __init__(self, width: int, options: BaselineOptions) -> None:
        super().__init__()
        self.predictor = projector(width, 4 * width, width)

    def forward(self, views: EncodedViews) -> tuple[Tensor, dict[str, Tensor]]:
        """See `ViewLoss`."""
        assert views.targets is not None
        predicted = self.predictor(views.projected.flatten(0, 1)).view_as(views.projected)
        pairs = [pair for v, w in view_pairs(len(predicted)) for pair in ((v, w), (w, v))]
        cosines = [F.cosine_similarity(predicted[v], views.targets[w].detach(), dim=-1) for v, w in pairs]
        return 2 - 2 * torch.stack(cosines).mean(), {}


def variance_hinge(nodes: Tensor) -> Tensor:
    """Mean over the columns of max(0, 1 - standard deviation) of (B, C) nodes (VICReg, arXiv:2105.04906, Eq. 1)."""
    return F.relu(1 - (nodes.var(0) + 1e-4).sqrt()).mean()


def covariance_penalty(nodes: Tensor) -> Tensor:
    """Sum of the squared covariances between the columns of (B, C) nodes, divided by C (VICReg, Eq. 3 and 4)."""
    centred = nodes - nodes.mean(0)
    covariance = centred.T @ centred / (len(nodes) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / nodes.shape[1]


class VICReg(ViewLoss):
    """Views of an image are near each other, columns vary, and do not vary together (arXiv:2105.04906, Eq. 6)."""

    def __init__(self, width: int, options: BaselineOptions) -> None:
        super().__init__()
        self.weights = options.invariance, options.variance, options.covariance

    def forward(self, views: EncodedViews) -> tuple[Tensor, dict[str, Tensor]]:
        """See `ViewLoss`."""
        z = views.projected
        pairs = view_pairs(len(z))
        terms = {
            "invariance": torch.stack([F.mse_loss(z[v], z[w]) for v, w in pairs]).mean(),
            "variance": torch.stack([(variance_hinge(z[v]) + variance_hinge(z[w])) / 2 for v, w in pairs]).mean(),
            "covariance": torch.stack([covariance_penalty(z[v]) + covariance_penalty(z[w]) for v, w in pairs]).mean(),
        }
        loss = torch.stack([weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]).sum()
        return loss, {name: term.detach() for name, term in terms.items()}


def projector(width: int, hidden: int, out: int) -> nn.Sequential:
    """Two linear layers with batch normalisation and a ReLU between them."""
    return nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))
