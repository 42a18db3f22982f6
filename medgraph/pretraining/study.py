"""Studies of pre-training: arms × seeds, one after the other, then one comparison of their probes.

The folder of a study is ``<run.root>/<study>/<run.name, or a hash of the base configuration>``; below it every run has
the folder ``<arm>/seed-<seed>``. The same command skips finished runs and continues interrupted ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from medgraph.config import ConfigError, config_hash, parse
from medgraph.files import write_json
from medgraph.pretraining.comparison import Comparison, compare
from medgraph.pretraining.options import PretrainConfig, check
from medgraph.pretraining.report import comparison_table, write_study_report
from medgraph.pretraining.run import PretrainOutcome, pretrain
from medgraph.training.study import split_options

COMPARED = (("linear", "Accuracy of a linear probe"), ("knn", "Accuracy of a k-NN probe"))


@dataclass(frozen=True, slots=True)
class PretrainStudy:
    """What a study compares.

    Attributes:
        title: heading of its report.
        base: what all arms share; its name is the study's.
        arms: ``key=value`` arguments by arm.
        default: arms that run unless others are asked for; the first one is the reference, which always runs.
        seeds: how many, from 0.
    """

    title: str
    base: PretrainConfig
    arms: Mapping[str, Sequence[str]]
    default: Sequence[str]
    seeds: int = 3


def run_study(study: PretrainStudy, argv: Sequence[str], console: Console | None = None) -> list[Comparison]:
    """Run what is not done yet, compare, and write the report.

    Args:
        study: arms and their reference.
        argv: ``seeds=5``, ``arms=a,b``, and overrides for every arm.
        console: where progress goes.

    Returns:
        The comparison of linear probes, then that of k-NN probes.

    Raises:
        ConfigError: for a mistake in the arguments, before anything starts.
    """
    console = console or Console()
    arms, seeds, overrides = _split(study, argv)
    base = parse(study.base, overrides, check)
    folder = Path(base.run.root) / base.name / (base.run.name or config_hash(base))
    configs = {arm: [_config(study, arm, seed, overrides, folder) for seed in range(seeds)] for arm in arms}
    console.print(f"[bold]{base.name}[/bold]  {folder}", soft_wrap=True)
    outcomes: dict[str, list[PretrainOutcome]] = {arm: [] for arm in arms}
    for seed in range(seeds):
        for arm in arms:
            outcomes[arm].append(pretrain(configs[arm][seed], console))
    comparisons = [
        compare(probe, title, {arm: [each.results.value(probe) for each in done] for arm, done in outcomes.items()},
                arms[0])
        for probe, title in COMPARED
    ]  # fmt: skip
    console.print(_terminal(comparisons[0]))
    runs = {arm: [each.folder for each in done] for arm, done in outcomes.items()}
    report = write_study_report(folder, study.title, comparisons, runs)
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


def _config(study: PretrainStudy, arm: str, seed: int, overrides: Sequence[str], folder: Path) -> PretrainConfig:
    place = [f"run.root={folder}", f"name={arm}", f"run.name=seed-{seed}", f"seed={seed}"]
    return parse(study.base, [*overrides, *study.arms[arm], *place], check)


def _terminal(comparison: Comparison) -> Table:
    texts = comparison_table(comparison)
    table = Table(title=comparison.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(texts.header):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in texts.rows:
        table.add_row(*row)
    return table
