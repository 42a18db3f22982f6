"""How values are written for people, the same in HTML, the terminal and Markdown."""

from __future__ import annotations

import math
from typing import Protocol

from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.results import NO_CONTROL, Row

THIN = "\u202f"
"""Narrow no-break space between a number and its unit."""

_SPLITS = {"test": "In distribution", "ood": "Unseen combinations", "val": "Validation"}
_CONTROLS = {
    NO_CONTROL: "model",
    "no_image": "without the image",
    "shuffled_image": "another image",
    "majority": "majority answer",
    "nearest_question": "nearest training question",
    "always_yes": "always yes",
    "vocabulary": "all training answers",
}
_ARMS = {"zero_shot": "zero-shot", "baseline_plus": "Baseline+", "label_shuffled": "shuffled labels"}


class HasEnds(Protocol):
    """Anything with a lower and an upper end: an interval, a difference, a committed reference."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def split_name(split: str) -> str:
    """Name of a split as a reader would call it."""
    return _SPLITS.get(split, split.replace("_", " "))


def control_name(control: str) -> str:
    """Name of a control as a reader would call it."""
    return _CONTROLS.get(control, control.replace("_", " "))


def arm_name(arm: str) -> str:
    """Name of an arm of a laboratory experiment as a reader would call it."""
    return _ARMS.get(arm, arm.replace("_", " "))


def percent(share: float, digits: int = 1) -> str:
    """A share as per cent, without the sign: ``81.2``; ``–`` for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.{digits}f}"


def points(share: float) -> str:
    """A difference of shares as signed percentage points: ``+3.1``."""
    return "–" if math.isnan(share) else f"{100 * share:+.1f}".replace("-", "−")


def interval(value: HasEnds, signed: bool = False) -> str:
    """Both ends: ``78.0–84.1``, or ``−1.2 to +3.4`` for differences."""
    if math.isnan(value.low):
        return "no interval"
    if signed:
        return f"{points(value.low)} to {points(value.high)}"
    return f"{percent(value.low)}–{percent(value.high)}"


def share(figure: Estimate) -> str:
    """A share and its interval in per cent: ``50.0 (40.0–60.0)``."""
    return f"{percent(figure.value)} ({interval(figure)})"


def decimal(figure: Estimate, digits: int) -> str:
    """A number and its interval: ``0.80 (0.71–0.92)``; ``–`` where undefined."""
    if math.isnan(figure.value):
        return "–"
    ends = "no interval" if math.isnan(figure.low) else f"{figure.low:.{digits}f}–{figure.high:.{digits}f}"
    return f"{figure.value:.{digits}f} ({ends})"


def p_value(p: float) -> str:
    """``0.012``, ``< 0.001``, or ``–`` where there is no test."""
    if math.isnan(p):
        return "–"
    return f"<{THIN}0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if math.isnan(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60:02d}{THIN}min"


def sample_size(row: Row) -> str:
    """``n = 1,500 questions on 500 images``."""
    questions = f"{row.n:,} question" + "s" * (row.n != 1)
    return f"n = {questions} on {row.images:,} image" + "s" * (row.images != 1)


def count(value: float) -> str:
    """A whole number with separators; ``–`` where unknown."""
    return "–" if math.isnan(value) else f"{value:,.0f}"


def ratio(value: float) -> str:
    """``× 1.62``; ``–`` where unknown."""
    return "–" if math.isnan(value) else f"×{THIN}{value:.2f}"
