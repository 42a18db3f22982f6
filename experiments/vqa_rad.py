"""Fine-tuning on VQA-RAD: stage 3 of ExGra-Med on its own, from a run that has finished the first two stages.

Published for the 7B model (arXiv:2410.02615, average of open recall and closed accuracy): ExGra-Med on 100 % 74.9, with
DCI 75.3, on 40 % 74.4, on 10 % 72.5; LLaVA-Med on 100 % 72.6, on 10 % 52.4. 15 epochs at 4e-5 (DCI and 10 % models
2e-5), 64 questions a step.
As it stands it fine-tunes the packaged tiny model on the phantom task set, without any instruction tuning before.

    lightning run experiments/vqa_rad.py
    lightning run experiments/vqa_rad.py start=runs/exgra_10pct/NAME data=vqa_rad data.root=PATH model=llava-med-7b

The learning rate and the epochs are those published for this data set, with a dense connector (`model.connector=dci` in
both runs) and without (`medgraph/training/recipes.py`), also where it is the task set of a `data=mixture`.
`medgraph estimate` with the same arguments tells memory and time.
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
        name="vqa_rad",
        data=PhantomConfig(),
        stage1=StageConfig(steps=0),
        stage2=StageConfig(steps=0),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
