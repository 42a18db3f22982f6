"""Is an encoder pre-trained by graph matching (LVM-Med) worth more than random weights when all of it is fine-tuned?

Encoder and task are trained together for the same steps, with the same layers on top; differences are taken to random
weights in the architecture of the first encoder.

    lightning run experiments/lvm_med.py
    lightning run experiments/lvm_med_downstream.py encoders=lvm_med:runs/lvm_med/HASH/lvm_med/seed-0/encoder,NAME:PATH
    lightning run experiments/lvm_med_downstream.py task=classification encoders=…
    lightning run experiments/lvm_med_downstream.py masks=FOLDER encoders=…

Published (arXiv:2306.11925), ResNet-50, mean Dice of segmentation: LVM-Med 83.05; fine-tuned classification: LVM-Med
68.32 on FGADR and 76.82 on Brain, SimCLR 67.55 and 73.52.

Finished runs are read, so encoders and seeds can be added later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medgraph.config import ConfigError, PhantomConfig
from medgraph.console import user_errors
from medgraph.evaluation.comparison import Comparison
from medgraph.pretraining.downstream import DownstreamConfig, check, fine_tune
from medgraph.training.arms import ArmStudy, run_arms

FINE_TUNED = "Encoder and task are trained together: equal steps, batches, layers on top and learning rate."
COMPARED = (
    ("dice", "Mean Dice coefficient of the classes", FINE_TUNED),
    ("iou", "Mean intersection over union of the classes", FINE_TUNED),
    ("accuracy", "Accuracy of fine-tuned classification", FINE_TUNED),
)


def plan(encoders: Sequence[str] = ()) -> ArmStudy:
    """Random weights, then an arm for each of ``NAME:PATH``.

    Raises:
        ConfigError: for an encoder without a name or a path.
    """
    arms = {}
    for encoder in encoders:
        name, _, path = encoder.partition(":")
        if not name or not path:
            raise ConfigError(f"encoders={encoder}: expected NAME:PATH")
        arms[name] = (f"encoder={path}",)
    first = next(iter(arms.values()), ("encoder=tiny",))
    data = PhantomConfig(num_train=1000, num_val=1, num_test=400, num_ood=0)
    return ArmStudy(
        title="Fine-tuning of encoders: LVM-Med against random weights",
        base=DownstreamConfig(name="lvm_med_downstream", data=data),
        arms={"random": (*first, "weights=random"), **arms},
        default=("random", *arms),
        check=check,
        run=fine_tune,
        compared=COMPARED,
        curves=(("Loss", {"train/loss": "loss"}),),
    )


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    """Run, compare and report."""
    with user_errors():
        arguments = sys.argv[1:] if argv is None else list(argv)
        named = [argument.removeprefix("encoders=") for argument in arguments if argument.startswith("encoders=")]
        encoders = [encoder for each in named for encoder in each.split(",")]
        return run_arms(plan(encoders), [each for each in arguments if not each.startswith("encoders=")])


if __name__ == "__main__":
    main()
