"""LLaVA-Med on 40 % of the instruction data: LM loss alone.

The baseline of `exgra_40pct`; it never sees the extended answers.
Published for the 7B model (arXiv:2410.02615, average of open recall and closed accuracy): VQA-RAD about 70.8 (read
off a figure).

    lightning run experiments/llava_med_40pct.py
    lightning run experiments/llava_med_40pct.py model=llava-med-7b data=conversations data.root=FILE
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medgraph.config import ExperimentConfig, PhantomConfig, head_config
from medgraph.training.launch import launch

if TYPE_CHECKING:
    from medgraph.training.run import Outcome


def config() -> ExperimentConfig:
    """Defaults of this study; every value can be overridden on the command line."""
    return ExperimentConfig(
        name="llava_med_40pct",
        data=PhantomConfig(fraction=0.4),
        alignment=head_config("none"),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv)


if __name__ == "__main__":
    main()
