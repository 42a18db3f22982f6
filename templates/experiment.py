"""The question this study answers, in one line; what the paper reports for it, with its table (arXiv:XXXX.XXXXX).

    lightning run experiments/my_study.py
    lightning run experiments/my_study.py seed=1 data=medmat data.root=PATH

To add it to MedGraph: experiments/NAME.py with `name="NAME"` and these commands in the docstring;
tests/test_experiments.py then finds the file and runs it, shrunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, head_config
from medgraph.training.launch import launch

if TYPE_CHECKING:
    from medgraph.training.run import Outcome


def config() -> ExperimentConfig:
    """Defaults of this study; every value can be overridden on the command line."""
    return ExperimentConfig(
        name="my_study",
        data=PhantomConfig(fraction=0.1),
        alignment=head_config("infonce", temperature=0.1),
        stage2=StageConfig(alpha=1.0),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
