"""Does pre-training by graph matching (LVM-Med) give better features than other methods, or than random weights?

A tower is pre-trained on images without labels, then a linear probe is fitted to its frozen features. All arms share
steps, batches, views, projector and learning rate; differences are taken to the tower without any training.

    lightning run experiments/lvm_med.py                              # random, SimCLR, BYOL, VICReg, LVM-Med; 3 seeds
    lightning run experiments/lvm_med.py arms=lvm_med,lvm_med_first_order,lvm_med_no_messages
    lightning run experiments/lvm_med.py data=medmat data.root=PATH seeds=5 steps=3000
    lightning run experiments/lvm_med.py images=FOLDER vision=microsoft/resnet-50 weights=pretrained

Published (arXiv:2306.11925), 1.3 M images, ResNet-50, linear probe: LVM-Med 68.3 on FGADR and 66.3 on Brain,
SimCLR 65.3 and 62.5, VICRegL 64.7 and 59.6. Its ablations lose 1.8 (local affinity) to 5.3 points (second order).

Finished runs are skipped and interrupted ones continue, so arms and seeds can be added later. The tower of a run is
``encoder/`` in its folder; ``model.vision=FOLDER/encoder`` starts a `MedVLM` from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medgraph.config import PhantomConfig
from medgraph.console import user_errors
from medgraph.evaluation.comparison import Comparison
from medgraph.pretraining.options import OFFICIAL, PretrainConfig
from medgraph.pretraining.study import pretrain_study
from medgraph.training.arms import ArmStudy, run_arms

ARMS: dict[str, tuple[str, ...]] = {
    "random": ("steps=0",),
    "simclr": ("method=simclr",),
    "byol": ("method=byol",),
    "vicreg": ("method=vicreg",),
    "lvm_med": ("method=lvm_med",),
    "lvm_med_official": ("method=lvm_med", *(f"matching.{name}={value}" for name, value in OFFICIAL.items())),
    "lvm_med_first_order": ("method=lvm_med", "matching.edge_weight=0"),
    "lvm_med_no_messages": ("method=lvm_med", "matching.message_passing=false"),
    "lvm_med_no_noise": ("method=lvm_med", "matching.noise=0"),
    "lvm_med_no_local": ("method=lvm_med", "matching.alpha=1"),
}  # fmt: skip
"""Arms by name: the methods, then LVM-Med with the published settings, then the ablations of the paper."""


def plan() -> ArmStudy:
    """The arms and what they share."""
    data = PhantomConfig(num_train=4000, num_val=400, num_test=800, num_ood=0)
    return pretrain_study(
        title="Pre-training of a vision tower: LVM-Med against SimCLR, BYOL, VICReg and random weights",
        base=PretrainConfig(name="lvm_med", data=data),
        arms=ARMS,
        default=("random", "simclr", "byol", "vicreg", "lvm_med", "lvm_med_official"),
    )


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    """Run, compare and report."""
    with user_errors():
        return run_arms(plan(), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
