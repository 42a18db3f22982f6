"""Studies: arms × seeds, each a run of an experiment file in a process of its own, then one comparison.

The directory of a study is ``<run.root>/<study>/<run.name, or a hash of what its arms compute>``; below it every run
has the folder ``<arm>/seed-<seed>``. The same command skips finished runs and continues interrupted ones.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph.config import ConfigError, ExperimentConfig, config_hash, parse
from medgraph.evaluation.plateau import CurvePoint
from medgraph.evaluation.results import Results
from medgraph.evaluation.statistics import wilson
from medgraph.evaluation.study import Study, StudyRun, compare_arms
from medgraph.files import read_json
from medgraph.models.build import assets_hash
from medgraph.training.jobs import Job, run_jobs
from medgraph.training.logging import read_metrics
from medgraph.training.recipes import resolve
from medgraph.training.screening import FIRST_SEED, VALIDATION_ONLY, Family, choose, save_choices


@dataclass(frozen=True, slots=True)
class Arm:
    """One method of a study.

    Attributes:
        name: shown in tables, and the folder of its runs.
        file: experiment file.
        overrides: ``key=value`` arguments that make this arm out of it; ``{seed}`` in them is the seed of a run.
        longer: factor on the length of stage 2, whatever the study's overrides make of it.
    """

    name: str
    file: Path
    overrides: tuple[str, ...] = ()
    longer: float = 1

    def arguments(self, overrides: Sequence[str]) -> list[str]:
        """Arguments of this arm's runs under the overrides of a study.

        Raises:
            ConfigError: for a mistake in them.
        """
        arguments = [*overrides, *self.overrides]
        config = resolve(self.config(arguments))
        if self.longer > 1:
            if config.stage2.steps is not None:
                arguments.append(f"stage2.steps={round(self.longer * config.stage2.steps)}")
            elif config.stage2.epochs is not None:
                arguments.append(f"stage2.epochs={self.longer * config.stage2.epochs}")
        return arguments

    def config(self, arguments: Sequence[str]) -> ExperimentConfig:
        """The experiment's configuration with arguments."""
        return parse(runpy.run_path(str(self.file))["config"](), arguments)


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a study compares.

    Attributes:
        name: folder of the study.
        title: heading of its report.
        arms: the methods.
        reference: name of the arm that differences are taken to.
        full_data: name of the arm whose plateau has to be shown before others may be said to match it.
        notes: sentences that the report carries.
        save: file for ``save_reference=true``: results that other reports show beside their own.
        families: methods whose setting is chosen on validation first; they come after ``arms``.
    """

    name: str
    title: str
    arms: Sequence[Arm]
    reference: str
    full_data: str | None = None
    notes: Sequence[str] = ()
    save: Path | None = None
    families: Sequence[Family] = ()


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What `run_study` takes besides overrides."""

    seeds: int = 3
    workers: int = 2
    screening_seeds: int = 2
    save_reference: bool = False
    arms: tuple[str, ...] = ()


def run_study(plan: StudyPlan, argv: Sequence[str], console: Console | None = None) -> Study:
    """Run what is not done yet, compare, and write the report.

    Args:
        plan: arms and their reference.
        argv: ``seeds=3`` (0, 1, 2), ``workers=2`` (runs at a time), ``screening_seeds=2`` (1000, 1001),
            ``save_reference=true``, ``arms=a,b`` (these and the reference; others can follow later), and overrides
            for every arm.
        console: where progress goes.

    Raises:
        ConfigError: for a mistake in the arguments, before anything starts.
        JobsFailedError: if a run fails; the others are finished first.
    """
    from medgraph.report.study import terminal_study_table, write_study_report

    console = console or Console()
    given, overrides = split_options(argv, ("seeds", "workers", "screening_seeds"), ("save_reference",))
    options = StudyOptions(**given)
    folder = _folder(plan, overrides)
    console.print(f"[bold]{plan.name}[/bold]  {folder}")
    named, families = _select(plan, options.arms)
    chosen, notes = _screen(families, overrides, folder, options, console)
    arms, seeds = [*named, *chosen], range(options.seeds)
    run_jobs(_jobs(arms, overrides, seeds, folder), options.workers, console)
    runs = [read_run(folder / arm.name / f"seed-{seed}", arm.name, seed) for arm in arms for seed in seeds]
    study = compare_arms(runs, plan.reference)
    console.print(terminal_study_table(study))
    for arm_name, plateau in study.plateaus.items():
        console.print(f"{arm_name}: {plateau.sentence}")
    report = write_study_report(folder, runs, plan.reference, plan.full_data, plan.title, [*plan.notes, *notes])
    console.print(f"report: {report}")
    if options.save_reference and plan.save is not None:
        facts = read_json(folder / plan.reference / "seed-0" / "data.json")
        save_reference(study, plan.save, {key: facts[key] for key in ("weights", "tests")})
        console.print(f"reference results: {plan.save}")
    return study


def _select(plan: StudyPlan, wanted: Sequence[str]) -> tuple[list[Arm], list[Family]]:
    """The arms and families with these names, and the reference; all of them where none are named."""
    known = [*(arm.name for arm in plan.arms), *(family.name for family in plan.families)]
    for name in wanted:
        if name not in known:
            raise ConfigError(f"arms={name}: no such arm; known: {', '.join(known)}")
    kept = {*wanted, plan.reference} if wanted else set(known)
    return [arm for arm in plan.arms if arm.name in kept], [f for f in plan.families if f.name in kept]


def _screen(
    families: Sequence[Family], overrides: Sequence[str], folder: Path, options: StudyOptions, console: Console
) -> tuple[list[Arm], list[str]]:
    """Choose a setting of every family on validation; returns arms under the families' names, and sentences."""
    if not families:
        return [], []
    folder = folder / "screening"
    seeds = range(FIRST_SEED, FIRST_SEED + options.screening_seeds)
    only = [*overrides, *VALIDATION_ONLY]
    settings = [arm for family in families for arm in family.settings]
    run_jobs(_jobs(settings, only, seeds, folder), options.workers, console)
    runs = {arm.name: [folder / arm.name / f"seed-{seed}" for seed in seeds] for arm in settings}
    choices, arms = zip(*(choose(family, runs) for family in families), strict=True)
    save_choices(choices, folder / "choices.json")
    sentences = [choice.sentence for choice in choices]
    console.print("\n".join(sentences))
    return list(arms), sentences


def read_run(folder: Path, arm: str, seed: int) -> StudyRun:
    """Read what the comparison needs from a finished run; the curve is that of stage 2."""
    compute = read_json(folder / "compute.json").values()
    validation = read_json(folder / "data.json")["validation"]
    return StudyRun(
        arm=arm,
        seed=seed,
        results=Results.load(folder / "results.json"),
        seconds=sum(stage["seconds"] for stage in compute),
        steps=int(sum(stage["steps"] for stage in compute)),
        tokens=int(sum(stage["tokens"] for stage in compute)),
        predictions=folder / "predictions.jsonl",
        curve=tuple(
            CurvePoint(line["step"], line["val/accuracy"], validation)
            for line in read_metrics(folder / "metrics.jsonl")
            if line["stage"] == "stage2" and "val/accuracy" in line
        ),
    )


def read_runs(folder: Path) -> list[StudyRun]:
    """Read all finished runs of a study, arm by arm.

    Args:
        folder: of the study, with ``<arm>/seed-<seed>`` below.
    """
    pages = folder.glob("*/seed-*/report.html")
    found = sorted((page.parent.parent.name, int(page.parent.name.removeprefix("seed-"))) for page in pages)
    return [read_run(folder / arm / f"seed-{seed}", arm, seed) for arm, seed in found]


def save_reference(study: Study, file: Path, measured_on: dict[str, Any]) -> None:
    """Write mean accuracies over seeds, with the Wilson interval of one seed's questions, seeds and date.

    Args:
        study: the comparison.
        file: JSON file to write.
        measured_on: what must be equal for another run's numbers to be comparable.
    """
    rows = []
    for split, arms in study.rows.items():
        for row in arms:
            interval = wilson(row.mean * row.n, row.n)
            rows.append(
                {
                    "arm": row.arm,
                    "split": split,
                    "accuracy": round(row.mean, 4),
                    "low": round(interval.low, 4),
                    "high": round(interval.high, 4),
                    "n": row.n,
                    "seeds": list(row.seeds),
                    "date": date.today().isoformat(),
                    **measured_on,
                }
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def split_options(
    argv: Sequence[str], numbers: Sequence[str], switches: Sequence[str] = (), lists: Sequence[str] = ("arms",)
) -> tuple[dict[str, Any], list[str]]:
    """Options of a study itself, and the rest.

    Args:
        argv: ``key=value``.
        numbers: options that are a number, at least 1.
        switches: options that are true or false.
        lists: options that are names, such as ``arms=a,b``.

    Raises:
        ConfigError: for a malformed value, or ``seed``.
    """
    options: dict[str, Any] = {}
    rest = []
    for argument in argv:
        key, _, value = argument.lstrip("-").partition("=")
        if key == "seed":
            raise ConfigError("seed: a study runs several; use seeds=N for the seeds 0 to N-1")
        if key in lists:
            options[key] = tuple(name.strip() for name in value.strip("[]").split(",") if name.strip())
        elif key in switches:
            if value.lower() not in ("true", "false"):
                raise ConfigError(f"{argument}: expected true or false")
            options[key] = value.lower() == "true"
        elif key in numbers:
            if not value.isdecimal() or int(value) < 1:
                raise ConfigError(f"{argument}: expected at least 1")
            options[key] = int(value)
        else:
            rest.append(argument)
    return options, rest


def _folder(plan: StudyPlan, overrides: Sequence[str]) -> Path:
    """``run.root``/study/``run.name``, or a hash of everything that the arms compute."""
    values = dict(override.lstrip("-").partition("=")[::2] for override in overrides)
    arms = [*plan.arms, *(arm for family in plan.families for arm in family.settings)]
    configs = [resolve(arm.config(arm.arguments(overrides))) for arm in arms]
    content = [f"{config_hash(config)} {assets_hash(config.model)}" for config in configs]
    default = hashlib.sha256("\n".join(content).encode()).hexdigest()[:8]
    return Path(values.get("run.root", "runs")) / plan.name / values.get("run.name", default)


def _jobs(arms: Sequence[Arm], overrides: Sequence[str], seeds: Sequence[int], folder: Path) -> list[Job]:
    """A job for every seed and arm, seed by seed."""
    arguments = {arm.name: arm.arguments(overrides) for arm in arms}
    return [_job(arm, arguments[arm.name], seed, folder) for seed in seeds for arm in arms]


def _job(arm: Arm, arguments: Sequence[str], seed: int, folder: Path) -> Job:
    place = [f"run.root={folder}", f"name={arm.name}", f"run.name=seed-{seed}", f"seed={seed}"]
    own = [argument.replace("{seed}", str(seed)) for argument in arguments]
    return Job(
        name=f"{arm.name} seed {seed}",
        command=[sys.executable, str(arm.file), *own, *place, "trainer.progress=false"],
        log=folder / "logs" / f"{arm.name}-seed-{seed}.log",
        done=(folder / arm.name / f"seed-{seed}" / "report.html",),
    )
