"""Heatmaps of gains: where in the space of modalities and areas related subsets help, and what every condition does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from medgraph.report.cg_combinations import ARM, Row, span
from medgraph.report.cg_figures import heatmap
from medgraph.report.cg_study import CgStudy
from medgraph.report.page import Picture, picture
from medgraph.report.words import arm_name

_SHOWN = ("baseline_plus", "placebo", "label_shuffled", "only_modality", "only_area", "only_task", ARM, "target")
"""Conditions in the order of the columns; the alone arms are in the forest of elements."""

Cells = Mapping[tuple[str, str], Sequence[float]]


def modality_area(study: CgStudy, rows: Sequence[Row]) -> Picture:
    """Related minus the better control, by modality and area of the target."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        triplet = study.triplet(row.outcome.experiment.target)
        cells[triplet.area, triplet.modality].append(min(effect.mean for effect in row.verdict.effects))
    questions = span(row.verdict.questions for row in rows)
    caption = (
        "Related minus the better control in points, by area and modality of the target: mean over combinations, their "
        f"number in brackets (n = {questions} questions each); hatched: not measured. The table has the intervals."
    )
    return _draw(cells, sorted({m for _, m in cells}), "Gain by area and modality, points", caption)


def target_condition(study: CgStudy) -> Picture | None:
    """Accuracy minus zero-shot, by target and condition."""
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    questions = set()
    for outcome in study.of("combination"):
        scores = outcome.scores
        for arm in _SHOWN:
            if "zero_shot" in scores and arm in scores:
                gain = scores[arm].accuracy - scores["zero_shot"].accuracy
                cells[study.label(outcome.experiment.target), arm_name(arm)].append(gain)
                questions.add(len(scores[arm].questions))
    if not cells:
        return None
    caption = (
        "Accuracy minus zero-shot in points, by target and condition: mean over combinations, their number in brackets "
        f"(n = {span(questions)} questions each); hatched: not measured. The table has the "
        "intervals."
    )
    columns = [arm_name(arm) for arm in _SHOWN if any(column == arm_name(arm) for _, column in cells)]
    return _draw(cells, columns, "Gain over zero-shot, points", caption)


def _draw(cells: Cells, columns: Sequence[str], title: str, caption: str) -> Picture:
    rows = sorted({row for row, _ in cells})
    found = [[cells.get((row, column), ()) for column in columns] for row in rows]
    values = np.array([[np.mean(gains) if gains else np.nan for gains in line] for line in found])
    counts = np.array([[len(gains) for gains in line] for line in found])
    return picture(heatmap(values, counts, rows, columns, title), caption)
