"""Projectors from the vision tower's features to the language model's input space.

Letters: B images, N tokens of the tower, D width of its features, Q queries.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn


def build_projector(kind: str, width_in: int, width_out: int, queries: int = 64) -> nn.Module:
    """Build a projector that maps (B, N, width_in) to (B, N, width_out), or to (B, queries, width_out).

    Args:
        kind: ``linear`` (LLaVA), ``mlpNx_gelu`` (LLaVA-1.5: N linear layers with GELU between them) or ``resampler``.
        width_in: features of the tower.
        width_out: features of the language model.
        queries: tokens that the resampler returns.

    Raises:
        ValueError: for another kind.

    Example:
        >>> build_projector("mlp2x_gelu", 8, 16)
        Sequential(
          (0): Linear(in_features=8, out_features=16, bias=True)
          (1): GELU(approximate='none')
          (2): Linear(in_features=16, out_features=16, bias=True)
        )
    """
    if kind == "resampler":
        return Resampler(width_in, width_out, queries)
    match = re.fullmatch(r"linear|mlp([1-9]\d*)x_gelu", kind)
    if match is None:
        raise ValueError(f"model.projector={kind}: expected linear, resampler or mlpNx_gelu with N >= 1")
    modules: list[nn.Module] = [nn.Linear(width_in, width_out)]
    for _ in range(int(match[1] or 1) - 1):
        modules += [nn.GELU(), nn.Linear(width_out, width_out)]
    return nn.Sequential(*modules)


class Resampler(nn.Module):
    """Perceiver resampler: a fixed number of learned queries read an image (Flamingo, arXiv:2204.14198).

    Args:
        width_in: D, also the width it works at.
        width_out: features of the language model.
        num_tokens: Q.
        depth: layers.
    """

    def __init__(self, width_in: int, width_out: int, num_tokens: int, depth: int = 2) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.queries = nn.Parameter(0.02 * torch.randn(num_tokens, width_in))  # small: the image soon outweighs them
        self.layers = nn.ModuleList(ResamplerLayer(width_in) for _ in range(depth))
        self.project = nn.Sequential(nn.LayerNorm(width_in), nn.Linear(width_in, width_out))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, N, D) features to (B, Q, width_out) tokens."""
        queries = self.queries.expand(len(features), -1, -1)
        for layer in self.layers:
            queries = layer(queries, features)
        return self.project(queries)


class ResamplerLayer(nn.Module):
    """Queries attend to the image and to each other, then to themselves in an MLP; both with pre-norm and residual.

    Args:
        width: D; heads have 64 features where that divides it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        heads = next(heads for heads in range(max(1, width // 64), 0, -1) if width % heads == 0)
        self.norm_queries, self.norm_features, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, queries: Tensor, features: Tensor) -> Tensor:
        """Update (B, Q, D) queries from (B, N, D) features."""
        asking = self.norm_queries(queries)
        shown = torch.cat([self.norm_features(features), asking], 1)
        queries = queries + self.attention(asking, shown, shown, need_weights=False)[0]
        return queries + self.mlp(self.norm(queries))
