"""What a study of the laboratory says in plain words: the verdict, what to mind, what is still to come, where from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from medgraph.config.errors import first_few
from medgraph.report.cg_average import ALL, Average
from medgraph.report.cg_combinations import ARM, BY_CHANCE, CONTROLS, Rates, Row, span
from medgraph.report.cg_elements import Contribution
from medgraph.report.cg_study import CgStudy
from medgraph.report.words import arm_name, interval, percent, points

FEW_SEEDS = 5
_NAMED = 4
"""Experiments named in a sentence; more are counted."""


def headline(
    study: CgStudy, rows: Sequence[Row], chance: Rates, mean: Sequence[Average], elements: Sequence[Contribution]
) -> list[str]:
    """The verdict, a sentence or two a paragraph."""
    said = [*(_combinations(rows, chance) if rows else []), *_on_average(mean), *_elements(elements)]
    return said or [f"{len(study.plan.runs) - len(study.left)} of {len(study.plan.runs)} runs are done; nothing can be "
                    "compared yet."]  # fmt: skip


def _combinations(rows: Sequence[Row], chance: Rates) -> list[str]:
    ticked, helps = chance[ARM]
    n = ticked.rows
    by_chance = [f"{pair[0].yes} of {pair[0].rows} {arm_name(arm)} arms are ticked and {pair[1].yes} help"
                 for arm, pair in chance.items() if arm in BY_CHANCE]  # fmt: skip
    without = "of three equal arms any one is the best in every third row" if not by_chance else ""
    seen = [row.verdict.detectable for row in rows]
    return [
        f"Training on related subsets helps in {helps.yes} of {n} combinations: more than no training and more than as "
        "many unrelated images, by more than chance over seeds, images and rows.",
        f"The paper's rule ticks {ticked.yes} of {n}. What chance does: {', '.join(by_chance) or without}.",
        f"With {span(row.verdict.questions for row in rows)} questions a row, differences below about "
        f"{percent(median(seen))} points could not be seen (power 80 %, before the correction for {n} rows), so a row "
        "that does not help has not been shown not to.",
    ]


def _on_average(mean: Sequence[Average]) -> list[str]:
    said = [f"{points(one.mean)} ({interval(one.interval, signed=True)}) to {arm_name(one.control)}"
            for one in mean if (one.direction, one.arm) == (ALL, ARM)]  # fmt: skip
    return [f"On average over the combinations, in points: {', '.join(said)}."] if said else []


def _elements(found: Sequence[Contribution]) -> list[str]:
    known = [one for one in found if one.targets > 1 and (one.interval.low > 0 or one.interval.high < 0)]
    said = [f"{one.shared.replace('+', ' + ')} ({one.way}) {points(one.mean)} ({interval(one.interval, signed=True)})"
            for one in known]  # fmt: skip
    return [f"Over targets, sharing an element is worth, in points: {'; '.join(said)}."] if said else []


def warnings(study: CgStudy, rows: Sequence[Row]) -> list[str]:
    """What a reader has to know before believing a number."""
    found = []
    if len(study.plan.seeds) < FEW_SEEDS:
        luck = "intervals are over images only" if len(study.plan.seeds) == 1 else "intervals are wide for that"
        found.append(f"{study.seeds.capitalize()} an arm: the luck of a seed is hardly known; {luck}.")
    if study.left:
        judged = f" Holm's correction counts the {len(rows)} rows that are judged so far." if rows else ""
        found.append(f"{len(study.left)} of {len(study.plan.runs)} runs are not done.{judged}")
    one_sided = [study.title(row.outcome) for row in rows if len(row.verdict.effects) < len(CONTROLS)]
    if one_sided:
        found.append(f"Judged against one control only, for want of the other: {_some(one_sided)}.")
    flags: dict[str, list[str]] = defaultdict(list)
    for outcome in study.outcomes:
        for flag in outcome.experiment.flags:
            flags[flag].append(study.title(outcome))
    found += [f"{flag[:1].upper()}{flag[1:]}: {_some(names)}." for flag, names in flags.items()]
    return [*found, *(f"Left out: {note}." for note in study.plan.notes), *_code(study)]


def waiting(study: CgStudy) -> list[str]:
    """Arms that are not finished, one line an experiment."""
    return [f"{study.title(outcome)} waits for {_some([study.arm_label(arm) for arm in outcome.unfinished])}"
            for outcome in study.outcomes if outcome.unfinished]  # fmt: skip


def fact_tables(study: CgStudy, plan_hash: str) -> dict[str, list[tuple[str, str]]]:
    """Where the numbers come from, for the end of the page."""
    plan = study.plan
    runs = next(iter(plan.runs.values()))
    tables = {
        "Plan": [
            ("hash", plan_hash), ("runs", f"{len(plan.runs)}, {len(study.left)} to do"),
            ("seeds", ", ".join(map(str, plan.seeds))), ("fingerprint of the data", plan.data),
            ("arguments of every run", " ".join(runs.overrides) or "none"), ("scored by", study.scoring),
        ],
        "Sources": [(str(source["name"]), ", ".join(f"{k}={v}" for k, v in source.items() if k != "name") or "defaults")
                    for source in plan.sources],
        "Backbones": [(name, " ".join(values)) for name, values in plan.backbones.items() if name],
    }  # fmt: skip
    if study.environments:
        first = study.environments[0]
        tables["Environment of the first run"] = [
            ("git", str(first.get("git"))), ("python", str(first.get("python"))),
            ("machine", str(first.get("platform"))),
            ("devices", ", ".join(first.get("gpus", [])) or "CPU"),
            ("packages", ", ".join(f"{name} {version}" for name, version in first.get("packages", {}).items())),
        ]  # fmt: skip
    return tables


def _code(study: CgStudy) -> list[str]:
    codes = Counter(str(one.get("code")) for one in study.environments)
    counted = ", ".join(f"{code} in {count} runs" for code, count in codes.most_common())
    return [f"Runs were made by different versions of the code: {counted}."] if len(codes) > 1 else []


def _some(names: Sequence[str]) -> str:
    return first_few(list(dict.fromkeys(names)), _NAMED)
