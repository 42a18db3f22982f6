"""What ``medgraph cg plan`` prints: every arm with its images and runs, what to mind, and what is left to do."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.cg.execute import result_file, unfinished
from medgraph.cg.plan import Plan, describe
from medgraph.files import read_json

SHOWN = 4
"""Subsets named in a row; more are counted."""


def table_of(folder: Path, plan: Plan) -> RenderableType:
    """One row an arm and backbone, what to mind of each experiment, and the cost."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("experiment", "arm", "images of (seed 0)", "steps", "runs"):
        table.add_column(name, overflow="fold")
    seen = ""
    for experiment, backbone, arm, runs in describe(plan):
        name = f"{experiment.name} [{backbone}]" if backbone else experiment.name
        first = runs[0]
        listed = [f"{subset} {count}" for subset, count in first.counts.items()]
        more = f" and {len(listed) - SHOWN} more, {first.images} in all" if len(listed) > SHOWN else ""
        labels = ", shuffled" if first.labels == "shuffled" else ""
        table.add_row(
            Text("" if name == seen else name),
            Text(arm.name),
            Text((", ".join(listed[:SHOWN]) + more + labels) or "nothing trains"),
            str(sum(first.steps)),
            Text(first.key if len(runs) == 1 else f"{first.key} … {runs[-1].key}"),
        )
        seen = name
    flags = [Text(f"{experiment.name}: {'; '.join(experiment.flags)}")
             for experiment in plan.experiments if experiment.flags]  # fmt: skip
    notes = [Text(f"left out: {note}") for note in plan.notes]
    return Group(table, *flags, *notes, Text(cost(folder, plan)))


def cost(folder: Path, plan: Plan) -> str:
    """Runs, steps and, once a run has finished, hours: by the seconds a training step has taken so far."""
    left = unfinished(folder, plan)
    steps = sum(sum(plan.runs[key].steps) for key in left)
    taken, done = 0.0, 0
    for key in plan.runs.keys() - set(left):
        stages = read_json(result_file(folder, key, "compute.json")).values()
        taken, done = taken + sum(s["seconds"] for s in stages), done + sum(s["steps"] for s in stages)
    hours = f", about {steps * taken / done / 3600:.1f} h of training on one worker" if done and left else ""
    sentence = (
        f"{len(plan.experiments)} experiments, {len(plan.cells)} cells, {len(plan.runs)} different runs, "
        f"{len(left)} to do"
    )
    return f"{sentence}: {steps:,} steps{hours}" if left else sentence
