"""Which mix of training images helps a classifier most? The six of MediAug (arXiv:2504.18983) against none.

A tower is fine-tuned in full to tell the labels of a corpus. All arms share steps, batches, head, order and learning
rate; differences are taken to training without a mix, paired by seed. A step of AugMix takes three images for one.

    lightning run experiments/mediaug.py                                # phantoms, 5 seeds
    lightning run experiments/mediaug.py data=medmat data.root=PATH data.subsets=[102] data.ood_subsets=[none] steps=800
    lightning run experiments/mediaug.py arms=cutmix,snapmix vision=dinov2-s-14 lr=1e-4
    lightning run experiments/mediaug.py arms=augmix,augmix_alone

Published, the best mix: MRI of brain tumours SnapMix for ViT-B (accuracy 99.44 %), MixUp for ResNet-50 (79.19 %); eye
diseases CutMix for ViT-B (97.94 %), YOCO for ResNet-50 (91.60 %). docs/augment.md says how its mixes differ from these.

Finished runs are skipped and interrupted ones continue, so arms and seeds can be added later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medgraph.classification.study import classifier_study
from medgraph.console import user_errors
from medgraph.evaluation.comparison import Comparison
from medgraph.training.arms import ArmStudy, run_arms

ARMS: dict[str, tuple[str, ...]] = {
    "none": ("mix=none",),
    "mixup": ("mix=mixup",),
    "cutmix": ("mix=cutmix",),
    "snapmix": ("mix=snapmix",),
    "augmix": ("mix=augmix",),
    "cropmix": ("mix=cropmix",),
    "yoco": ("mix=yoco",),
    "augmix_alone": ("mix=augmix", "mix.consistency=0"),
}
"""Arms by name: none, the six, and AugMix without the second term of its loss."""


def plan() -> ArmStudy:
    """The arms and what they share."""
    return classifier_study("mediaug", "Mixes of training images for a classifier", ARMS, tuple(ARMS)[:-1])


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    """Run, compare and report."""
    with user_errors():
        return run_arms(plan(), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
