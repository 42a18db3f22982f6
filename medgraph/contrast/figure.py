"""One measured share, with what guessing would get."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medgraph.evaluation.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Figure:
    """One share with its 95 % interval over images, and what guessing gets (NaN where nothing is said)."""

    title: str
    n: int
    value: float
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan


def figure(title: str, n: int, estimate: Estimate, chance: float = math.nan) -> Figure:
    """A figure of an estimate."""
    return Figure(title, n, estimate.value, estimate.low, estimate.high, chance)
