"""Running a plan, by one process or by many that share the folder.

    python -m medgraph.cg.execute FOLDER KEY …

makes some runs of the plan in a folder, one after another; `run_plan` starts such processes.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from medgraph.cg.plan import Plan, PlannedRun, arguments
from medgraph.cg.starts import base_config
from medgraph.config import parse
from medgraph.training.jobs import Job, run_jobs

RUNS = "runs"
IN_TURN = 8
"""Runs that one process makes: it imports, and reads the data, once for all of them."""


def run_plan(folder: Path, workers: int, console: Console) -> Plan:
    """Run what is not done yet.

    Any number of processes may do so at once, such as the tasks of a SLURM array: no run is done twice, and those of a
    process that dies are taken up by the others.

    Args:
        folder: of the plan.
        workers: runs at a time in this process.
        console: where progress goes.

    Raises:
        ConfigError: if there is no plan, it was edited, or its runs would not be what was planned.
        JobsFailedError: if a run fails; the others are finished first.
    """
    plan = Plan.load_to_run(folder)
    runs = list(plan.runs.values())
    run_jobs([_job(folder, runs[i : i + IN_TURN]) for i in range(0, len(runs), IN_TURN)], workers, console)
    return plan


def result_file(folder: Path, key: str, name: str) -> Path:
    """A file of a run."""
    return folder / RUNS / key / name


def is_done(folder: Path, key: str) -> bool:
    """Whether a run has come to its end."""
    return _end(folder, key).exists()


def unfinished(folder: Path, plan: Plan) -> list[str]:
    """Keys of the runs that are not done."""
    return [key for key in plan.runs if not is_done(folder, key)]


def run_in_turn(folder: Path, keys: Sequence[str]) -> list[str]:
    """Make some runs in this process, one after another, skipping what is done.

    Args:
        folder: of the plan.
        keys: of the runs.

    Returns:
        Keys of the runs that failed; their errors are printed.
    """
    from medgraph.training.run import run

    plan, failed = Plan.load_to_run(folder), []
    for key in keys:
        if is_done(folder, key):
            continue
        place = [f"run.root={folder}", f"name={RUNS}", f"run.name={key}", "trainer.progress=false"]
        try:
            run(parse(base_config(), [*arguments(plan, plan.runs[key]), *place]))
        except Exception:  # whatever it is, the other runs can do without this one
            traceback.print_exc()
            failed.append(key)
    return failed


def _end(folder: Path, key: str) -> Path:
    return result_file(folder, key, "report.html")


def _job(folder: Path, runs: Sequence[PlannedRun]) -> Job:
    keys = [run.key for run in runs]
    targets = ", ".join(dict.fromkeys(run.target for run in runs))
    return Job(
        name=f"{len(runs)} runs from {keys[0]} on, {targets}" if len(runs) > 1 else f"{keys[0]} {targets}",
        command=[sys.executable, "-m", "medgraph.cg.execute", str(folder), *keys],
        log=folder / "logs" / f"{keys[0]}.log",
        done=[_end(folder, key) for key in keys],
    )


if __name__ == "__main__":
    sys.exit(1 if run_in_turn(Path(sys.argv[1]), sys.argv[2:]) else 0)
