"""Fine-tuning on SLAKE (English): stage 3 of ExGra-Med on its own, from a run that has finished the first two stages.

Published for the 7B model (arXiv:2410.02615, average of open recall and closed accuracy): ExGra-Med on 100 % 85.5, with
DCI 85.2, on 40 % 85.0, on 10 % 85.0; LLaVA-Med on 100 % 83.4, on 10 % 80.6. 15 epochs (DCI 18) at 4e-5, 128 questions a
step.
As it stands it fine-tunes the packaged tiny model on the phantom task set, without any instruction tuning before.

    lightning run experiments/vqa_slake.py
    lightning run experiments/vqa_slake.py start=runs/exgra_10pct/NAME data=slake data.root=PATH model=llava-med-7b

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
        name="vqa_slake",
        data=PhantomConfig(),
        stage1=StageConfig(steps=0),
        stage2=StageConfig(steps=0),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
