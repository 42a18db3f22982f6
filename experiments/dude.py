"""Does dual-context prompt learning (Dude) beat other ways to classify from a handful of images?

A frozen CLIP, 1 to 16 images a class, the same shots and the same budget for all methods; then base-to-new: learnt from
half of the classes, tested on both halves. Without a download the CLIP is a tiny one, trained here by contrast on
phantoms; the classes are combinations of modality, area and finding that it has never seen together.

    lightning run experiments/dude.py                                    # 8 methods, 3 draws of the shots
    lightning run experiments/dude.py seeds=5 arms=coop,plot budget.steps=500
    lightning run experiments/dude.py encoder=openai/clip-vit-base-patch16 data=medmat data.root=PATH data.subsets=[22]
    lightning run experiments/dude.py data=medmat data.root=PATH data.ood_subsets=[18]

Finished fits are skipped, so methods and seeds can be added later. ``encoder/`` in the folder of the study is the tiny
CLIP; ``encoder=FOLDER/encoder`` takes it for other data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medgraph.config import PhantomConfig
from medgraph.console import user_errors
from medgraph.prompting.method import Budget
from medgraph.prompting.options import FewShotConfig
from medgraph.prompting.results import FewShotResults
from medgraph.prompting.study import FewShotStudy, run_study


def plan() -> FewShotStudy:
    """The study."""
    data = PhantomConfig(
        num_train=2500, num_task=1, num_val=1, num_test=1, num_ood=1200, num_modalities=2, num_areas=2, num_findings=7,
        holdout=0.5,
    )  # fmt: skip
    return FewShotStudy(
        title="Few-shot classification: Dude against seven baselines on one frozen encoder",
        base=FewShotConfig(name="dude", data=data, budget=Budget(lr=0.02)),
    )


def main(argv: Sequence[str] | None = None) -> FewShotResults:
    """Run, compare and report."""
    with user_errors():
        return run_study(plan(), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
