"""A tower under a decoder in the manner of U-Net, and the loss of both.

Letters: B images, D width of the tower, R cells a side, S side in pixels, K classes, the background first.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.models.vision import VisionTower


class SegmentationNet(nn.Module):
    """A tower, and a decoder that doubles its feature map until it has the size of the image.

    At every size the image itself, averaged down, joins the features, as the skip connections of U-Net
    (arXiv:1505.04597) bring back what deeper layers have lost.

    Args:
        tower: trained with the decoder.
        num_classes: K.
        channels: of the first convolution; halved at every size, at least 16.
    """

    def __init__(self, tower: VisionTower, num_classes: int, channels: int = 64) -> None:
        super().__init__()
        self.tower, self.sizes, blocks = tower, decoder_sizes(math.isqrt(tower.num_tokens), tower.image_size), []
        width = tower.width
        for _ in self.sizes:
            blocks.append(convolution(width + 3, channels))
            width, channels = channels, max(16, channels // 2)
        self.blocks, self.head = nn.ModuleList(blocks), nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Segment (B, 3, S, S) uint8 images: (B, K, S, S) logits."""
        cells = self.tower(images)
        x = cells.mT.unflatten(-1, (math.isqrt(cells.shape[1]), -1))  # (B, D, R, R)
        pixels = (images.float() / 255 - self.tower.mean) / self.tower.std
        for size, block in zip(self.sizes, self.blocks, strict=True):
            x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
            x = block(torch.cat([x, F.adaptive_avg_pool2d(pixels, size)], 1))
        logits: Tensor = self.head(x)
        return logits


def decoder_sizes(grid: int, side: int) -> list[int]:
    """Sizes of the maps of a decoder, from the first doubling to the image.

    Example:
        >>> decoder_sizes(4, 64), decoder_sizes(7, 224), decoder_sizes(16, 224)
        ([8, 16, 32, 64], [14, 28, 56, 112, 224], [32, 64, 128, 224])
    """
    sizes = []
    while grid < side:
        grid = min(2 * grid, side)
        sizes.append(grid)
    return sizes


def convolution(width: int, out: int) -> nn.Sequential:
    """A convolution over 3 × 3 pixels with group normalisation, which does not mix images, and a ReLU."""
    return nn.Sequential(nn.Conv2d(width, out, 3, padding=1, bias=False), nn.GroupNorm(8, out), nn.ReLU())


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    r"""One minus the soft Dice coefficient, mean over the foreground classes in the batch (V-Net, arXiv:1606.04797).

    .. math:: 1 - \frac{2 \sum_x p_k(x) \, [y(x) = k]}{\sum_x p_k(x) + \sum_x [y(x) = k]}

    Args:
        logits: (B, K, S, S) float.
        labels: (B, S, S) int64 in 0 … K-1.

    Returns:
        Scalar in [0, 1]; 0 without any foreground.
    """
    probabilities = logits.float().softmax(1).transpose(0, 1).flatten(1)[1:]  # (K-1, B·S·S)
    truth = F.one_hot(labels.flatten(), logits.shape[1]).T[1:].to(probabilities)
    there = truth.any(1)
    overlap, total = (probabilities * truth).sum(1), probabilities.sum(1) + truth.sum(1)
    return ((1 - 2 * overlap / total.clamp(min=1e-6)) * there).sum() / there.sum().clamp(min=1)


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy plus `dice_loss`."""
    return F.cross_entropy(logits.float(), labels) + dice_loss(logits, labels)
