"""Is an encoder pre-trained by graph matching (LVM-Med) worth more than random weights when all of it is fine-tuned?

Encoder and task are trained together for the same steps, with the same layers on top; differences are taken to random
weights in the architecture of the first encoder.

    lightning run experiments/lvm_med.py
    lightning run experiments/lvm_med_downstream.py encoders=runs/lvm_med/HASH                  # all of its arms
    lightning run experiments/lvm_med_downstream.py encoders=NAME:runs/lvm_med/HASH/lvm_med/seed-{seed}/encoder,…
    lightning run experiments/lvm_med_downstream.py task=classification encoders=…
    lightning run experiments/lvm_med_downstream.py masks=FOLDER encoders=…

Published (arXiv:2306.11925), ResNet-50, mean Dice of segmentation: LVM-Med 83.05; fine-tuned classification: LVM-Med
68.32 on FGADR and 76.82 on Brain, SimCLR 67.55 and 73.52.

Finished runs are skipped and interrupted ones continue, so encoders and seeds can be added later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from medgraph.classification.study import classifier_study
from medgraph.config import ConfigError
from medgraph.console import user_errors
from medgraph.evaluation.comparison import Comparison
from medgraph.pretraining.study import study_encoders
from medgraph.segmentation.study import segmentation_study
from medgraph.training.arms import ArmStudy, run_arms
from medgraph.training.study import split_options

TASKS = {"segmentation": segmentation_study, "classification": classifier_study}


def plan(task: str = "segmentation", encoders: Sequence[str] = ()) -> ArmStudy:
    """Random weights, then an arm for each encoder.

    Args:
        task: one of `TASKS`.
        encoders: ``NAME:PATH``, ``{seed}`` in a path being the seed of a run, or the folder of a study of pre-training;
            its arm of random weights takes the place of others. Without any: the packaged tower.

    Raises:
        ConfigError: for an unknown task, or an encoder without a name or a path.
    """
    if task not in TASKS:
        raise ConfigError(f"task={task}: expected {' or '.join(TASKS)}")
    towers: dict[str, str] = {}
    for encoder in encoders or ("tiny:tiny",):
        name, named, path = encoder.partition(":")
        if named and not (name and path):
            raise ConfigError(f"encoders={encoder}: expected NAME:PATH, or the folder of a study of pre-training")
        towers |= {name: path} if named else study_encoders(Path(encoder))
    first = next(iter(towers.values()))
    arms = {"random": (f"vision={first}", "weights=random")}
    arms |= {name: (f"vision={path}",) for name, path in towers.items()}
    title = f"Fine-tuning of encoders for {task}: differences to random weights"
    return TASKS[task]("lvm_med_downstream", title, arms, tuple(arms), seeds=3)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    """Run, compare and report."""
    with user_errors():
        options, rest = split_options(sys.argv[1:] if argv is None else argv, (), lists=("task", "encoders"))
        task, encoders = options.get("task", ("segmentation",)), options.get("encoders", ())
        return run_arms(plan(",".join(task), encoders), rest)


if __name__ == "__main__":
    main()
