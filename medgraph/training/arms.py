"""Studies of trainings on one device: arms × seeds, one after the other in this process, then one comparison.

A run is a call that leaves a folder and results with a value by name: pre-training, a classifier, a dual encoder.
`medgraph.training.study` is for experiments instead: each run is an experiment file in a process of its own, several at
a time, and what is compared are answers to the same questions.

The folder of a study is ``<run.root>/<study>/<run.name, or a hash of the base configuration>``; below it every run has
the folder ``<arm>/seed-<seed>``. The same command skips finished runs and continues interrupted ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rich.console import Console

from medgraph.config import ConfigError, config_hash, parse
from medgraph.evaluation.comparison import Comparison, compare
from medgraph.files import write_json
from medgraph.training.logging import read_metrics
from medgraph.training.study import split_options

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ArmStudy:
    """What a study compares.

    Attributes:
        title: heading of its report.
        base: what all arms share; its name is the study's.
        arms: ``key=value`` arguments by arm; ``{seed}`` in them is the seed of a run.
        default: arms that run unless others are asked for; the first one is the reference, which always runs.
        check: refuses a configuration that makes no sense.
        run: runs a configuration, or reads what it left behind; the outcome has a ``folder``, and ``results`` with a
            ``value`` by name.
        compared: name, title and protocol of the values, the one that the study is about first.
        curves: title, and label by key of the log, of what is shown over the steps.
        seeds: how many, from 0.
    """

    title: str
    base: Any
    arms: Mapping[str, Sequence[str]]
    default: Sequence[str]
    check: Callable[[Any], None]
    run: Callable[[Any, Console], Any]
    compared: Sequence[tuple[str, str, str]]
    curves: Sequence[tuple[str, Mapping[str, str]]]
    seeds: int = 3


def run_arms(study: ArmStudy, argv: Sequence[str], console: Console | None = None) -> list[Comparison]:
    """Run what is not done yet, compare, and write the report.

    Args:
        study: arms and their reference.
        argv: ``seeds=5``, ``arms=a,b``, and overrides for every arm.
        console: where progress goes.

    Returns:
        One comparison for each of ``study.compared`` that the data has something to measure on.

    Raises:
        ConfigError: for a mistake in the arguments, before anything starts.
    """
    from medgraph.report.arms import comparison_table, overview_table, write_arms_report

    console = console or Console()
    arms, seeds, overrides = _split(study, argv)
    base = parse(study.base, overrides, study.check)
    folder = Path(base.run.root) / base.name / (base.run.name or config_hash(base))
    configs = {arm: [_config(study, arm, seed, overrides, folder) for seed in range(seeds)] for arm in arms}
    console.print(f"[bold]{base.name}[/bold]  {folder}", soft_wrap=True)
    outcomes: dict[str, list[Any]] = {arm: [] for arm in arms}
    for seed in range(seeds):
        for arm in arms:
            outcomes[arm].append(study.run(configs[arm][seed], console))
    comparisons = [
        compare(name, title, {arm: [each.results.value(name) for each in done] for arm, done in outcomes.items()},
                arms[0], text)
        for name, title, text in study.compared
        if not all(math.isnan(each.results.value(name)) for done in outcomes.values() for each in done)
    ]  # fmt: skip
    for table in (overview_table(comparisons), comparison_table(comparisons[0])):
        console.print(table)
    logs = {arm: [read_metrics(each.folder / "metrics.jsonl") for each in done] for arm, done in outcomes.items()}
    report = write_arms_report(folder, study.title, comparisons, logs, study.curves)
    write_json(folder / "comparison.json", {c.name: {row.arm: row.values for row in c.rows} for c in comparisons})
    console.print(f"report: {report}", soft_wrap=True)
    return comparisons


def _split(study: ArmStudy, argv: Sequence[str]) -> tuple[list[str], int, list[str]]:
    """Arms with the reference first, number of seeds, and the other arguments."""
    options, rest = split_options(argv, ["seeds"])
    wanted, seeds = options.get("arms", study.default), options.get("seeds", study.seeds)
    for name in wanted:
        if name not in study.arms:
            raise ConfigError(f"arms={name}: no such arm; known: {', '.join(study.arms)}")
    reference = study.default[0]
    return [reference, *(name for name in dict.fromkeys(wanted) if name != reference)], seeds, rest


def _config(study: ArmStudy, arm: str, seed: int, overrides: Sequence[str], folder: Path) -> Any:
    place = [f"run.root={folder}", f"name={arm}", f"run.name=seed-{seed}", f"seed={seed}"]
    own = [argument.replace("{seed}", str(seed)) for argument in (*overrides, *study.arms[arm])]
    return parse(study.base, [*own, *place], study.check)


def keep_last(read: Callable[P, T]) -> Callable[P, T]:
    """Hand out again what was read last, if the arguments say the same: the runs of a study share decoded images."""
    kept: dict[str, T] = {}

    def read_once(*arguments: P.args, **options: P.kwargs) -> T:
        key = repr((arguments, options))
        if key not in kept:
            kept.clear()  # before another one is read
            kept[key] = read(*arguments, **options)
        return kept[key]

    return read_once
