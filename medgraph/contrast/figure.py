"""One measured share, with what guessing would get."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medgraph.evaluation.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure(Estimate):
    """A share with its 95 % interval over images.

    Attributes:
        title: what it is.
        n: images or queries.
        chance: what guessing gets; NaN where nothing is said.
    """

    title: str
    n: int
    chance: float = math.nan


def figure(title: str, n: int, estimate: Estimate, chance: float = math.nan) -> Figure:
    """A figure of an estimate."""
    return Figure(estimate.value, estimate.low, estimate.high, title=title, n=n, chance=chance)
