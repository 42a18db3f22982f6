"""Where the finding of a phantom image is, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medgraph.data.phantom.factors import Factors
from medgraph.data.phantom.scene import Scene

REPLACED = 0.25
"""Share of a pixel's tissue that belongs to the finding, at least."""


def finding_mask(factors: Factors, side: int) -> npt.NDArray[np.bool_]:
    """Mark the pixels in which the finding has replaced tissue of the same anatomy without it.

    Args:
        factors: see `Factors`.
        side: edge in pixels.

    Returns:
        (side, side) bool; all False where the finding is ``normal``.
    """
    with_finding, without = (
        Scene(each, side).anatomy().fractions for each in (factors, replace(factors, finding="normal"))
    )
    changed: npt.NDArray[np.bool_] = np.abs(with_finding - without).sum(0) / 2 >= REPLACED
    return changed
