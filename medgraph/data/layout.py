"""Where the real tokens of padded sequences are: found once, on the CPU, so that no device has to be asked.

Letters: B sequences, T their padded length, n real tokens of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Layout:
    """Sequences side by side without padding, and the way there and back.

    Attributes:
        shape: (B, T).
        real: (n,) int64, where the real tokens are among the B·T.
        positions: (n,) int64, where each of them is in its sequence, from 0.
        lengths: (B,) int64 real tokens.
        longest: the largest length.
    """

    shape: torch.Size
    real: Tensor
    positions: Tensor
    lengths: Tensor
    longest: int

    @classmethod
    def of(cls, mask: Tensor) -> Layout:
        """The layout of a (B, T) bool mask, True at real tokens."""
        real = mask.flatten().nonzero().squeeze(1)
        lengths = mask.sum(1)
        return cls(mask.shape, real, (mask.cumsum(1) - 1).flatten()[real], lengths, int(lengths.max()))

    def to(self, device: torch.device) -> Layout:
        """Copy to a device."""
        real, positions, lengths = (x.to(device) for x in (self.real, self.positions, self.lengths))
        return Layout(self.shape, real, positions, lengths, self.longest)

    def sequences(self) -> list[Layout]:
        """Each sequence by itself, on the CPU."""
        parts = self.positions.split(self.lengths.tolist())
        return [Layout(torch.Size((1, len(part))), part, part, torch.tensor([len(part)]), len(part)) for part in parts]

    @property
    def full(self) -> bool:
        """Whether nothing is padded: both ways are then views."""
        return len(self.real) == self.shape.numel()

    def take(self, padded: Tensor) -> Tensor:
        """(B, T, …) to the real tokens, (n, …)."""
        tokens = padded.flatten(0, 1)
        return tokens if self.full else tokens.index_select(0, self.real)

    def put(self, tokens: Tensor) -> Tensor:
        """(n, …) to (B, T, …), zero at padding."""
        if not self.full:
            tokens = tokens.new_zeros(self.shape.numel(), *tokens.shape[1:]).index_copy_(0, self.real, tokens)
        return tokens.unflatten(0, self.shape)
