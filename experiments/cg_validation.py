"""Does the laboratory of compositional generalization see what is there, and only that? Two worlds of phantoms.

In one, factors are independent: what a finding looks like in one pair of modality and area holds in the next. In the
other every pair has looks of its own (`data.interaction=1`), so nothing that is learnt elsewhere can help. The same
combinations are planned in both; in the first also two arms that cannot help, judged like the related subsets: other
unrelated subsets (placebo) and shuffled labels.

    lightning run experiments/cg_validation.py                          # 3 seeds, about an hour and a half on two cores
    lightning run experiments/cg_validation.py seeds=5 workers=4        # continues with what is there
    lightning run experiments/cg_validation.py stage2.steps=600 data.num_train=24000 images=1200

Writes one report a world, runs/cg_validation/NAME/report.html. Measured: docs/cg.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraph.config import ConfigError
from medgraph.console import user_errors

if TYPE_CHECKING:
    from medgraph.cg.plan import Plan

TARGETS = ("x-ray/lung/side", "ct/brain/level", "mri/kidney/finding")
DIRECTIONS = ("fixed_modality", "fixed_area", "fixed_task")
PAPER = ("zero_shot", "baseline_plus")
WORLDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "independent": (0, (*PAPER, "label_shuffled", "placebo")),
    "own_looks": (1, PAPER),
}
"""Interaction of the factors, and what the related subsets are compared with."""
OPTIONS = {"seeds": 3, "workers": 2, "limit": 3, "images": 600}


def plans(options: dict[str, int], data: dict[str, Any], overrides: Sequence[str] = ()) -> dict[str, Plan]:
    """The plan of each world."""
    from medgraph.cg.plan import make_plan

    return {
        name: make_plan(
            [{"name": "phantom", "num_train": 12000, "num_modalities": 3, "num_areas": 3, "interaction": interaction,
              **data}],
            targets=TARGETS,
            directions=DIRECTIONS,
            conditions=conditions,
            seeds=options["seeds"],
            images=options["images"],
            limit=options["limit"],
            overrides=["eval.controls=false", *overrides],
        )
        for name, (interaction, conditions) in WORLDS.items()
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Plan, run and report both worlds."""
    with user_errors(ValueError):
        options, data, overrides, root = _split(sys.argv[1:] if argv is None else argv)
        from rich.console import Console

        from medgraph.cg.execute import run_plan
        from medgraph.report.cg_page import terminal, write_cg_report
        from medgraph.report.cg_study import CgStudy

        console = Console()
        for name, plan in plans(options, data, overrides).items():
            folder = Path(root) / "cg_validation" / name
            plan.save(folder)
            run_plan(folder, options["workers"], console)
            report = write_cg_report(CgStudy.read(folder))
            console.print(terminal(report), report.page)


def _split(arguments: Sequence[str]) -> tuple[dict[str, int], dict[str, Any], list[str], str]:
    """Options of the study, options of the phantoms, overrides of every run, and the folder of all runs."""
    from medgraph.training.study import split_options

    given, rest = split_options(arguments, tuple(OPTIONS), lists=())
    data, overrides, root = dict[str, Any](), list[str](), "runs"
    for argument in rest:
        key, equals, value = argument.lstrip("-").partition("=")
        if not equals:
            raise ConfigError(f"{argument}: expected key=value")
        if key == "run.root":
            root = value
        elif key.startswith("data."):
            data[key.removeprefix("data.")] = value
        else:
            overrides.append(argument)
    return OPTIONS | given, data, overrides, root


if __name__ == "__main__":
    main()
