"""One figure of several arms over seeds: means, and paired differences to a reference arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medgraph.evaluation.statistics import Difference, holm, paired_over_seeds


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm.

    Attributes:
        arm: name.
        values: one a seed.
        mean: over seeds.
        sd: standard deviation over seeds; NaN with one.
        versus: difference to the reference, paired by seed; None for the reference itself.
        p_holm: p of the paired t-test, corrected for the number of arms.
    """

    arm: str
    values: tuple[float, ...]
    mean: float
    sd: float
    versus: Difference | None
    p_holm: float = float("nan")


@dataclass(frozen=True, slots=True)
class Comparison:
    """All arms under one figure.

    Attributes:
        name: of its files.
        title: what the figure is.
        reference: arm that differences are taken to.
        rows: in the order of the arms.
        text: how it was measured.
    """

    name: str
    title: str
    reference: str
    rows: tuple[ArmRow, ...]
    text: str = ""


def compare(name: str, title: str, values: Mapping[str, Sequence[float]], reference: str, text: str = "") -> Comparison:
    """Compare every arm with the reference.

    Args:
        name: of its files.
        title: what the figure is.
        values: by arm one value a seed, the same seeds in the same order for all.
        reference: one of the arms.
        text: how it was measured.

    Raises:
        ValueError: if the reference is missing or numbers of seeds differ.
    """
    if reference not in values:
        raise ValueError(f"reference {reference!r} is not among the arms {', '.join(values)}")
    rows = [
        ArmRow(
            arm, tuple(each), float(np.mean(each)), float(np.std(each, ddof=1)) if len(each) > 1 else float("nan"),
            None if arm == reference else paired_over_seeds(values[reference], each),
        )
        for arm, each in values.items()
    ]  # fmt: skip
    compared = [row for row in rows if row.versus is not None]
    adjusted = iter(holm([row.versus.p for row in compared if row.versus is not None]))
    corrected = tuple(replace(row, p_holm=next(adjusted)) if row.versus else row for row in rows)
    return Comparison(name, title, reference, corrected, text)
