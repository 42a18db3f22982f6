"""The parts of the laboratory's page: of each kind of experiment its figures and tables."""

from __future__ import annotations

from collections.abc import Sequence

from medgraph.cg.outcomes import Outcome
from medgraph.report import cg_figures, plots
from medgraph.report.cg_arms import CURVES, accuracy_table, difference_table
from medgraph.report.cg_average import Average, average_figure, average_table
from medgraph.report.cg_combinations import (
    Rates,
    Row,
    backbone_table,
    chance_table,
    span,
    table_three,
    verdict_table,
)
from medgraph.report.cg_curves import Curve, curve_table, curves
from medgraph.report.cg_elements import WAYS, Contribution, element_table
from medgraph.report.cg_gains import modality_area, target_condition
from medgraph.report.cg_study import CgStudy
from medgraph.report.page import Picture, picture
from medgraph.report.sections import Section
from medgraph.report.words import arm_name

_KINDS = {
    "combination": ("Conditions", "Every arm of the combinations, the controls and upper bounds included."),
    "break": (
        "CG break",
        "All related subsets, and what is left without those that share an element, at equal numbers of images. Fewer "
        "subsets are less varied whatever they share, so each is also compared with as many random ones left out.",
    ),
    "overlap": (
        "Overlap",
        "As many images of subsets that share nothing, one, two or all elements with the target by any task name.",
    ),
    "scale": ("Data scale", "More and more related images, and as many unrelated ones, without any of the target."),
    "low_data": ("Low data", "A few images of the target on top of related, of unrelated and of no other images."),
    "multi_task": (
        "Multi-task",
        "All subsets together against the target's own, in as many epochs (fewer steps) and in as many steps.",
    ),
    "detection": (
        "Detection",
        "Related subsets on top of a fixed number of images of the target; where the target is a box, points are IoU.",
    ),
}


def combination_section(study: CgStudy, rows: Sequence[Row], chance: Rates, mean: Sequence[Average]) -> Section:
    """The verdicts on all combinations that can be judged."""
    directions = dict.fromkeys(row.outcome.experiment.direction for row in rows)
    figures = [average_figure(study, mean), *(_forest(study, direction, rows) for direction in directions)]
    figures += [modality_area(study, rows), *filter(None, [target_condition(study)])]
    tables = [table_three(study, rows), verdict_table(study, rows), average_table(study, mean)]
    if len(chance) > 1:
        tables.append(chance_table(chance))
    if study.several_backbones:
        tables.append(backbone_table(study, rows))
    text = (
        "Related subsets, which together have what makes the target, against no training and as many unrelated images."
    )
    return Section("combinations", "Combinations", text, figures, tables)


def kind_section(study: CgStudy, kind: str) -> Section:
    """All arms of a kind of experiment; a kind without figures of its own has the tables alone."""
    outcomes = [outcome for outcome in study.of(kind) if outcome.scores]
    tables = [difference_table(study, kind)]
    figures: list[Picture] = []
    if kind in CURVES:
        found = {study.title(outcome): curves(outcome) for outcome in outcomes}
        figures = [_curves(study, kind, title, several) for title, several in found.items() if several]
        tables.insert(0, curve_table(study, kind, found))
    else:
        figures = [_bars(study, outcome) for outcome in outcomes] if kind in ("break", "overlap") else []
        tables.insert(0, accuracy_table(study, kind))
    title, text = _KINDS.get(kind, (kind.replace("_", " ").capitalize(), "Every arm."))
    return Section(f"kind-{kind}", title, text, figures, [table for table in tables if table.rows])


def element_section(study: CgStudy, found: Sequence[Contribution]) -> Section:
    """What each element contributes."""
    figures = [_elements(study, way, [one for one in found if one.way == way])
               for way in WAYS if any(one.way == way for one in found)]  # fmt: skip
    text = "Pooled over targets: would another target show the same? Each is above zero where the element helps."
    return Section("elements", "Elements", text, figures, [element_table(study, found)])


def _forest(study: CgStudy, direction: str, rows: Sequence[Row]) -> Picture:
    rows = [row for row in rows if row.outcome.experiment.direction == direction]
    shown = {study.title(row.outcome): {arm_name(effect.control): effect for effect in row.verdict.effects}
             for row in rows}  # fmt: skip
    name = direction.replace("_", " ").capitalize()
    caption = (
        f"{name}: accuracy of the related arm minus each control in points, 95 % intervals over seeds and images "
        f"({study.seeds}, n = {span(row.verdict.questions for row in rows)} questions); numbers as in the table."
    )
    return picture(cg_figures.differences(shown, f"{name}: difference in points"), caption)


def _bars(study: CgStudy, outcome: Outcome) -> Picture:
    shown = {study.arm_label(arm): scores for arm, scores in outcome.scores.items()}
    n = span(len(scores.questions) for scores in outcome.scores.values())
    title = study.title(outcome)
    caption = f"{title}: accuracy in %, 95 % intervals over seeds and images ({study.seeds}, n = {n} questions)."
    return picture(cg_figures.arm_bars(shown, f"{title}: accuracy, %"), caption)


def _curves(study: CgStudy, kind: str, title: str, found: Sequence[Curve]) -> Picture:
    label = "images of the target" if kind == "low_data" else "training images"
    caption = (
        f"{title}: accuracy in % over {label}, bands: 95 % intervals over seeds and images ({study.seeds}, n = "
        f"{span(one.questions for one in found)} questions)."
    )
    return picture(cg_figures.size_curves(found, f"{title}: accuracy, %", label), caption)


def _elements(study: CgStudy, way: str, found: Sequence[Contribution]) -> Picture:
    rows = [plots.ForestRow(one.shared.replace("+", " + "), one.mean, one.interval, f"{one.targets}",
                            highlight=one.targets > 1) for one in found]  # fmt: skip
    caption = (
        f"{WAYS[way].capitalize()}, in points ({study.seeds}). On the right the number of targets; 95 % t intervals "
        "over targets; open dot: one target, interval over seeds and images."
    )
    return picture(plots.forest(rows, f"{way.capitalize()}: difference, points", zero=0), caption)
