"""Connectors: hidden states of a vision tower become the features of an image; no parameters.

Dense Connector for MLLMs (arXiv:2405.13800) shows the projector earlier layers beside the chosen one. Which ones
follows from the depth of the tower; for CLIP ViT-L/14 (24 blocks) they are those of ExGra-Med's release
(arXiv:2410.02615). Hidden state 0 is the patch embedding, hidden state i the output of block i.

Letters: B images, N patches, D width of the tower, L blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph.config import ConfigError

STI_KERNEL = 8
"""Neighbouring tokens that STI averages."""
_MIN_BLOCKS = {"none": 0, "sti": 3, "sci": 3, "dci": 2}
_WIDTHS = {"none": 1, "sti": 1, "sci": 3, "dci": 3}


@dataclass(frozen=True, slots=True)
class Connector:
    """Token pooling and the fusion of several layers.

    Args:
        kind: ``none`` (the chosen layer alone), ``sti`` (sparse token integration: the tokens of layers L/3 - 1 and
            2L/3 - 1, each averaged in groups of 8, behind those of the chosen layer), ``sci`` (sparse channel
            integration: the same layers side by side in the channels), ``dci`` (dense channel integration: the means
            of hidden states 0 to L/2 - 1 and L/2 to L - 1 side by side with the chosen layer).
        pool: squares of ``pool`` x ``pool`` patches are averaged in every layer first.
    """

    kind: Literal["none", "sti", "sci", "dci"] = "none"
    pool: int = 1

    def others(self, blocks: int) -> list[int]:
        """Hidden states that are needed besides the chosen one.

        Args:
            blocks: L of the whole tower.

        Raises:
            ConfigError: if the tower is too shallow.

        Example:
            >>> Connector("sci").others(24)
            [7, 15]
        """
        if blocks < _MIN_BLOCKS[self.kind]:
            raise ConfigError(f"model.connector={self.kind}: needs a vision tower of {_MIN_BLOCKS[self.kind]} blocks "
                              f"or more, this one has {blocks}")  # fmt: skip
        if self.kind == "none":
            return []
        return list(range(blocks // 2 * 2)) if self.kind == "dci" else [blocks // 3 - 1, 2 * blocks // 3 - 1]

    def width(self, width: int) -> int:
        """Channels of the features, from D."""
        return _WIDTHS[self.kind] * width

    def num_tokens(self, patches: int) -> int:
        """Tokens of an image, from N.

        Raises:
            ConfigError: if `pool` does not divide the grid, or leaves too few tokens for STI.
        """
        side = math.isqrt(patches)
        if side % self.pool:
            fits = ", ".join(str(n) for n in range(1, side + 1) if side % n == 0)
            raise ConfigError(f"model.pool={self.pool} does not divide the grid of {side} x {side} patches; "
                              f"possible are {fits}")  # fmt: skip
        tokens = (side // self.pool) ** 2
        if self.kind != "sti":
            return tokens
        if tokens < STI_KERNEL:
            raise ConfigError(f"model.connector=sti: averages groups of {STI_KERNEL} tokens, an image has {tokens}; "
                              "lower model.pool or choose sci or dci")  # fmt: skip
        return tokens + 2 * (tokens // STI_KERNEL)

    def __call__(self, states: Sequence[Tensor]) -> Tensor:
        """Fuse hidden states.

        Args:
            states: (B, N, D) of the chosen layer and of `others`, patches in rows from the top left.

        Returns:
            (B, num_tokens(N), width(D)).
        """
        chosen, *others = (pool_grid(state, self.pool) for state in states)
        if self.kind == "sti":
            return torch.cat([chosen, *(F.avg_pool1d(state.mT, STI_KERNEL).mT for state in others)], 1)
        if self.kind == "dci":
            half = len(others) // 2
            others = [torch.stack(group).mean(0) for group in (others[:half], others[half:])]
        return torch.cat([chosen, *others], -1)


ONE_LAYER = Connector()
"""The chosen layer as it is."""


def pool_grid(tokens: Tensor, size: int) -> Tensor:
    """Average squares of a token grid: (B, g * g, D) in rows to (B, (g / size) ** 2, D) in rows."""
    if size == 1:
        return tokens
    side = math.isqrt(tokens.shape[1]) // size
    return tokens.unflatten(1, (side, size, side, size)).mean((2, 4)).flatten(1, 2)
