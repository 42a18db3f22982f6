"""ExGra-Med on all of the instruction data: LM loss plus multi-graph alignment.

The method of `exgra_10pct`; only the share of the data differs.
Published for the 7B model (arXiv:2410.02615, average of open recall and closed accuracy):
VQA-RAD 74.9, SLAKE 85.5, PathVQA 63.9; with a dense connector (`model.connector=dci`) 75.3, 85.2 and 64.8.

    lightning run experiments/exgra_100pct.py
    lightning run experiments/exgra_100pct.py model=llava-med-7b data=conversations data.root=FILE
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
        name="exgra_100pct",
        data=PhantomConfig(fraction=1.0),
        alignment=head_config("exgra"),
        stage2=StageConfig(alpha=1.0),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
