"""Does ExGra-Med gain from a tower that was pre-trained on images without labels? One arm for each kind of tower.

Takes the towers of a finished study of pre-training, such as `experiments/lvm_med.py`: seed 0 of an arm starts from the
tower of its seed 0, and so on. The tower stays frozen, and everything else is that of `exgra_10pct.py`. Differences are
taken to the first arm, a tower without any training. Give the same ``data`` as there, so that the test images are the
same and no tower has seen them.

    lightning run experiments/exgra_from_encoder.py encoders=runs/lvm_med/HASH
    lightning run experiments/exgra_from_encoder.py encoders=runs/lvm_med/HASH data=medmat data.root=PATH arms=lvm_med
    lightning run experiments/exgra_from_encoder.py encoders=runs/lvm_med/HASH stage2.alpha=0   # the LM loss alone

Finished runs are skipped and interrupted ones continue, so arms and seeds can be added later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from medgraph.config import ConfigError
from medgraph.console import user_errors
from medgraph.evaluation.study import Study
from medgraph.pretraining.study import study_encoders
from medgraph.training.study import Arm, StudyPlan, run_study, split_options

BASE = Path(__file__).parent / "exgra_10pct.py"
REFERENCE = "random"


def plan(folder: Path) -> StudyPlan:
    """One arm for each arm of a study of pre-training.

    Raises:
        ConfigError: if the folder holds no such study, or one without random weights.
    """
    towers = study_encoders(folder)
    if REFERENCE not in towers:
        raise ConfigError(f"encoders={folder}: differences are taken to the arm {REFERENCE}, found {', '.join(towers)}")
    return StudyPlan(
        name="exgra_from_encoder",
        title="ExGra-Med from towers with and without pre-training",
        arms=[Arm(name, BASE, (f"model.vision={tower}",)) for name, tower in towers.items()],
        reference=REFERENCE,
        notes=("The tower is frozen. Its pre-training has seen the images of the training splits, never a label.",),
    )


def main(argv: Sequence[str] | None = None) -> Study:
    """Run, compare and report."""
    with user_errors():
        options, rest = split_options(sys.argv[1:] if argv is None else argv, (), lists=("encoders",))
        folders = options.get("encoders", ())
        if len(folders) != 1:
            raise ConfigError(
                f"expected one encoders=FOLDER, found {len(folders)}: the folder of a study of pre-training"
            )
        return run_study(plan(Path(folders[0])), rest)


if __name__ == "__main__":
    main()
