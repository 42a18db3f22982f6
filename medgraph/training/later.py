"""Values that travel from a device to the host while the device goes on working."""

from __future__ import annotations

import torch
from torch import Tensor


class Later:
    """A copy of a tensor for the host, started now and waited for when it is read.

    Args:
        tensor: on any device; without gradient.

    Example:
        >>> arrived = Later(torch.tensor([1.0, 2.0]))
        >>> arrived.get().tolist()
        [1.0, 2.0]
    """

    def __init__(self, tensor: Tensor) -> None:
        self._copy = tensor.to("cpu", non_blocking=True)
        self._copied = None
        if tensor.is_cuda:
            self._copied = torch.cuda.Event()
            self._copied.record()

    def get(self) -> Tensor:
        """Wait for the work that led to the tensor, and for nothing that was given to the device since."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._copy
