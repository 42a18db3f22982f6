"""Studies of pre-training: arms × seeds, one after the other, then one comparison of what they have learnt.

The folder of a study is ``<run.root>/<study>/<run.name, or a hash of the base configuration>``; below it every run has
the folder ``<arm>/seed-<seed>``. The same command skips finished runs and continues interrupted ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph.config import ConfigError, config_hash, parse
from medgraph.files import write_json
from medgraph.pretraining.comparison import Comparison, compare
from medgraph.pretraining.options import check
from medgraph.pretraining.report import CURVES, comparison_table, overview_table, write_study_report
from medgraph.pretraining.run import pretrain
from medgraph.training.study import split_options

PROBED = "Fitted on training labels, chosen on validation; equal steps, batches, views, projector and learning rate."
COMPARED = (("linear", "Accuracy of a linear probe", PROBED), ("knn", "Accuracy of a k-NN probe", PROBED))


@dataclass(frozen=True, slots=True)
class PretrainStudy:
    """What a study compares.

    Attributes:
        title: heading of its report.
        base: what all arms share; its name is the study's.
        arms: ``key=value`` arguments by arm.
        default: arms that run unless others are asked for; the first one is the reference, which always runs.
        seeds: how many, from 0.
        check: refuses a configuration that makes no sense.
        run: runs a configuration, or reads what it left behind; the outcome has a ``folder``, and ``results`` with a
            ``value`` by name.
        compared: name, title and protocol of the values, the one that the study is about first.
        curves: title, and label by key of the log, of what is shown over the steps.
    """

    title: str
    base: Any
    arms: Mapping[str, Sequence[str]]
    default: Sequence[str]
    seeds: int = 3
    check: Callable[[Any], None] = check
    run: Callable[[Any, Console], Any] = pretrain
    compared: Sequence[tuple[str, str, str]] = COMPARED
    curves: Sequence[tuple[str, Mapping[str, str]]] = CURVES[1:]


def run_study(study: PretrainStudy, argv: Sequence[str], console: Console | None = None) -> list[Comparison]:
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
    runs = {arm: [each.folder for each in done] for arm, done in outcomes.items()}
    report = write_study_report(folder, study.title, comparisons, runs, study.curves)
    write_json(folder / "comparison.json", {c.name: {row.arm: row.values for row in c.rows} for c in comparisons})
    console.print(f"report: {report}", soft_wrap=True)
    return comparisons


def _split(study: PretrainStudy, argv: Sequence[str]) -> tuple[list[str], int, list[str]]:
    """Arms with the reference first, number of seeds, and the other arguments."""
    options, rest = split_options(argv, ["seeds"])
    wanted, seeds = options.get("arms", study.default), options.get("seeds", study.seeds)
    for name in wanted:
        if name not in study.arms:
            raise ConfigError(f"arms={name}: no such arm; known: {', '.join(study.arms)}")
    reference = study.default[0]
    return [reference, *(name for name in dict.fromkeys(wanted) if name != reference)], seeds, rest


def _config(study: PretrainStudy, arm: str, seed: int, overrides: Sequence[str], folder: Path) -> Any:
    place = [f"run.root={folder}", f"name={arm}", f"run.name=seed-{seed}", f"seed={seed}"]
    return parse(study.base, [*overrides, *study.arms[arm], *place], study.check)
