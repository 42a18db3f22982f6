"""What an arm does on average over the combinations of a study, direction by direction.

Rows are too small to tell a gain of a few points from chance; their average is not. The interval is for these
combinations: it says what other seeds and other images would give, not other combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgraph.cg.outcomes import Outcome
from medgraph.evaluation.effects import interval_of_average
from medgraph.evaluation.plain import to_plain
from medgraph.evaluation.statistics import Interval
from medgraph.report import plots
from medgraph.report.cg_combinations import ARM, BY_CHANCE, CONTROLS
from medgraph.report.cg_study import CgStudy
from medgraph.report.page import Picture, picture
from medgraph.report.tables import RunTable
from medgraph.report.words import arm_name, interval, points

ALL = "all"


@dataclass(frozen=True, slots=True)
class Average:
    """Mean difference over combinations.

    Attributes:
        direction: of the combinations; ``all`` for all of them.
        arm: which is compared.
        control: with what.
        mean: as a share.
        interval: 95 %, over seeds and images.
        rows: combinations.
    """

    direction: str
    arm: str
    control: str
    mean: float
    interval: Interval
    rows: int


def averages(study: CgStudy) -> list[Average]:
    """Related subsets, and arms that cannot help, against each control."""
    outcomes = study.of("combination")
    directions = list(dict.fromkeys(outcome.experiment.direction for outcome in outcomes))
    groups = {ALL: outcomes} if len(directions) == 1 else {ALL: outcomes, **{
        direction: [outcome for outcome in outcomes if outcome.experiment.direction == direction]
        for direction in directions
    }}  # fmt: skip
    return [
        _average(direction, arm, control, both)
        for direction, group in groups.items()
        for arm in (ARM, *BY_CHANCE)
        for control in CONTROLS
        if (both := [outcome for outcome in group if {arm, control} <= outcome.scores.keys()])
    ]


def average_table(study: CgStudy, found: Sequence[Average]) -> RunTable:
    """One row a direction and arm."""
    cells: dict[tuple[str, str], dict[str, Average]] = {}
    for one in found:
        cells.setdefault((one.direction, one.arm), {})[one.control] = one
    rows = [
        (direction.replace("_", " "), arm_name(arm), str(max(one.rows for one in by_control.values())),
         *(_cell(by_control.get(control)) for control in CONTROLS))
        for (direction, arm), by_control in cells.items()
    ]  # fmt: skip
    caption = (
        f"Mean difference over combinations in points, with 95 % intervals over {study.seeds} and images for these "
        "combinations."
    )
    header = ("direction", "arm", "rows", *(f"− {arm_name(control)}" for control in CONTROLS))
    records = [to_plain(one) for one in found]
    return RunTable("averages", "On average", header, rows, caption, texts=2, records=records)


def average_figure(study: CgStudy, found: Sequence[Average]) -> Picture:
    """Forest of the differences to as many unrelated images, or to no training where there is no such arm."""
    control = next(name for name in reversed(CONTROLS) if any(one.control == name for one in found))
    rows = [
        plots.ForestRow(f"{one.direction.replace('_', ' ')}: {arm_name(one.arm)}", one.mean, one.interval,
                        f"{one.rows} rows", one.arm == ARM)
        for one in found if one.control == control
    ]  # fmt: skip
    caption = (
        f"Mean difference to {arm_name(control)} over combinations in points, 95 % intervals over {study.seeds} and "
        "images; open dots: arms that cannot help."
    )
    return picture(plots.forest(rows, f"On average, minus {arm_name(control)}: points", zero=0), caption)


def _average(direction: str, arm: str, control: str, outcomes: Sequence[Outcome]) -> Average:
    pairs = [(outcome.scores[arm], outcome.scores[control]) for outcome in outcomes]
    differences = [(one.points - other.points, one.images) for one, other in pairs]
    mean = float(np.mean([points.mean() for points, _ in differences]))
    return Average(direction, arm, control, mean, interval_of_average(differences), len(outcomes))


def _cell(average: Average | None) -> str:
    return f"{points(average.mean)} ({interval(average.interval, signed=True)})" if average else ""
