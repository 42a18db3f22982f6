"""Zero-shot answers to OmniMedVQA: a trained model, no training on the task.

All questions are multiple choice. `strict` scores the letter, `omnimedvqa` matches the text of the answer to the
options as the release does (highest `difflib` ratio; there with sampling at T = 0.7, here greedy).
Published: ExGra-Med beats RadFM on average over 23 sets of microscopy, CT and X-ray (arXiv:2410.02615); figures by data
set were not published. As it stands it asks the packaged tiny model about phantoms.

    lightning run experiments/zero_shot_omnimed.py
    lightning run experiments/zero_shot_omnimed.py start=runs/exgra_100pct/NAME data=omni_med_vqa data.root=PATH
        model=llava-med-7b
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig
from medgraph.training.launch import launch

if TYPE_CHECKING:
    from medgraph.training.run import Outcome


def config() -> ExperimentConfig:
    """Defaults of this study; every value can be overridden on the command line."""
    return ExperimentConfig(
        name="zero_shot_omnimed",
        data=PhantomConfig(),
        stage1=StageConfig(steps=0),
        stage2=StageConfig(steps=0),
        stage3=StageConfig(steps=0),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
