"""Running a plan, by one process or by many that share the folder.

    python -m medgraph.cg.execute ARGUMENTS

is one run; `run_plan` starts them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from medgraph.cg.plan import Plan, PlannedRun, arguments, base_config
from medgraph.training.jobs import Job, run_jobs
from medgraph.training.launch import launch

RUNS = "runs"


def run_plan(folder: Path, workers: int, console: Console) -> Plan:
    """Run what is not done yet.

    Any number of processes may do so at once, such as the tasks of a SLURM array: no run is done twice, and those of a
    process that dies are taken up by the others.

    Args:
        folder: of the plan.
        workers: runs at a time in this process.
        console: where progress goes.

    Raises:
        ConfigError: if there is no plan, or it was edited.
        JobsFailedError: if a run fails; the others are finished first.
    """
    plan = Plan.load(folder)
    run_jobs([_job(folder, plan, run) for run in plan.runs.values()], workers, console)
    return plan


def result_file(folder: Path, key: str, name: str) -> Path:
    """A file of a run."""
    return folder / RUNS / key / name


def unfinished(folder: Path, plan: Plan) -> list[str]:
    """Keys of the runs that are not done."""
    return [key for key in plan.runs if not result_file(folder, key, "report.html").exists()]


def _job(folder: Path, plan: Plan, run: PlannedRun) -> Job:
    place = [f"run.root={folder}", f"name={RUNS}", f"run.name={run.key}", "trainer.progress=false"]
    return Job(
        name=f"{run.key} {run.target} seed {run.seed}",
        command=[sys.executable, "-m", "medgraph.cg.execute", *arguments(plan, run), *place],
        log=folder / "logs" / f"{run.key}.log",
        done=result_file(folder, run.key, "report.html"),
    )


if __name__ == "__main__":
    launch(base_config)
