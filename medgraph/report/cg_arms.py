"""The arms of any kind of experiment: accuracies side by side, and differences to the arms that they must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from medgraph.cg.outcomes import Outcome
from medgraph.evaluation.effects import Effect
from medgraph.evaluation.plain import to_plain
from medgraph.report.cg_study import CgStudy, accuracy_interval
from medgraph.report.tables import RunTable
from medgraph.report.words import arm_name, interval, percent, points

CURVES = ("low_data", "scale")
"""Kinds whose arms are points of curves."""


def _always(control: str) -> Callable[[str], str]:
    return lambda arm: control


_TARGET_CONTROLS = {
    "zero-shot": _always("zero_shot"),
    "target alone": lambda arm: arm.rpartition(" + ")[2],
    "unrelated instead": lambda arm: arm.replace("related + ", "unrelated + ") if arm.startswith("related") else "",
}
_CONTROLS: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "combination": {"zero-shot": _always("zero_shot"), "Baseline+": _always("baseline_plus")},
    "break": {
        "zero-shot": _always("zero_shot"),
        "all related": _always("all_related"),
        "random ones left out": lambda arm: f"without_random for {arm.removeprefix('without_')}",
    },
    "overlap": {"zero-shot": _always("zero_shot"), "zero overlap": _always("zero_overlap")},
    "scale": {
        "zero-shot": _always("zero_shot"),
        "as many unrelated": lambda arm: arm.removesuffix("related") + "unrelated" if arm.endswith(" related") else "",
    },
    "multi_task": {
        "zero-shot": _always("zero_shot"),
        "single-task": _always("single_task"),
        "single-task, as many steps": _always("single_task, as many steps"),
    },
}
"""By kind of experiment: what an arm is compared with, and the name of that arm; other kinds add target images."""


def contrasts(study: CgStudy, outcome: Outcome, arm: str) -> dict[str, Effect]:
    """Differences of an arm to the arms that it must beat, by what these are; only to those that have finished."""
    scores, controls = outcome.scores, _CONTROLS.get(outcome.experiment.kind, _TARGET_CONTROLS)
    named = {title: name(arm) for title, name in controls.items()}
    return {title: study.effect(scores[arm], scores[control], control)
            for title, control in named.items() if control in scores and control != arm}  # fmt: skip


def accuracy_table(study: CgStudy, kind: str) -> RunTable:
    """One row an experiment, one column an arm (Med-MAT, arXiv:2412.20070: layout of Tables 1, 2 and 5, and Fig. 4)."""
    outcomes = study.of(kind)
    names = list(dict.fromkeys(_column(outcome, arm) for outcome in outcomes for arm in outcome.scores))
    combined = kind != "combination" and any(outcome.experiment.related for outcome in outcomes)
    rows, records = [], []
    for outcome in outcomes:
        accuracies = {_column(outcome, arm): scores.accuracy for arm, scores in outcome.scores.items()}
        experiment = outcome.experiment
        cells = [percent(accuracies[name]) if name in accuracies else "" for name in names]
        related = [study.related(outcome)] if combined else []
        rows.append((study.title(outcome), *related, *cells, _questions(outcome)))
        records.append({"experiment": outcome.name, "target": experiment.target, "accuracy": accuracies})
    header = ("experiment", *(["related subsets"] if combined else []), *(arm_name(name) for name in names), "n")
    caption = (f"{study.score}, mean over {study.seeds}; alone 1, 2 …: the related subsets in their order." if kind ==
               "combination" else f"{study.score}, mean over {study.seeds}.")  # fmt: skip
    return RunTable(f"{kind}_accuracy", "Every arm", header, rows, caption, texts=1 + combined, records=records)


def difference_table(study: CgStudy, kind: str) -> RunTable:
    """One row an arm: its accuracy, and its differences to the arms that it must beat, with intervals."""
    rows, records, titles = [], [], list(_CONTROLS.get(kind, _TARGET_CONTROLS))
    for outcome in study.of(kind):
        for arm in outcome.experiment.arms:
            if arm.name not in outcome.scores:
                continue
            scores = outcome.scores[arm.name]
            own, effects = accuracy_interval(scores), contrasts(study, outcome, arm.name)
            images = study.plan.run_of(outcome.experiment, outcome.backbone, arm.name, study.plan.seeds[0]).images
            texts = [f"{points(effects[title].mean)} ({interval(effects[title], signed=True)})"
                     if title in effects else "" for title in titles]  # fmt: skip
            label = study.arm_label(arm.name)
            accuracy = f"{percent(scores.accuracy)} ({interval(own)})"
            rows.append((study.title(outcome), label, f"{images:,}", accuracy, *texts))
            records.append({"experiment": outcome.name, "target": outcome.experiment.target, "arm": arm.name,
                            "images": images, "accuracy": scores.accuracy, "low": own.low, "high": own.high,
                            "questions": len(scores.questions), "differences": to_plain(effects)})  # fmt: skip
    header = ("experiment", "arm", "images", "accuracy", *(f"− {title}" for title in titles))
    caption = (
        f"{study.score} over {study.seeds}; differences in points. In brackets 95 % intervals over seeds and images, "
        "not corrected for the number of arms."
    )
    folded = len(rows) > 12
    return _without_empty(RunTable(f"{kind}_differences", "Differences", header, rows, caption, 2, folded, records))


def _without_empty(table: RunTable) -> RunTable:
    kept = [column for column in range(len(table.header)) if any(row[column] for row in table.rows)]
    rows = [[row[column] for column in kept] for row in table.rows]
    return replace(table, header=[table.header[column] for column in kept], rows=rows)


def _column(outcome: Outcome, arm: str) -> str:
    """Name of an arm where experiments stand in one table: related subsets are numbered."""
    alone, _, key = arm.partition(" ")
    related = outcome.experiment.related
    return f"alone {related.index(key) + 1}" if alone == "alone" and key in related else arm


def _questions(outcome: Outcome) -> str:
    return next((f"{len(scores.questions):,}" for scores in outcome.scores.values()), "")
