"""LLaVA-Med on all of the instruction data: LM loss alone.

The arm that 10 % methods are said to match.
Published for the 7B model (arXiv:2410.02615, average of open recall and closed accuracy):
VQA-RAD 72.6 (open 63.7, closed 81.6), SLAKE 83.4, PathVQA 64.1.

    lightning run experiments/llava_med_100pct.py
    lightning run experiments/llava_med_100pct.py seed=1 data=medmat data.root=PATH
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medgraph.config import ExperimentConfig, PhantomConfig, head_config
from medgraph.training.launch import launch

if TYPE_CHECKING:
    from medgraph.training.run import Outcome

REFERENCE = Path(__file__).parent / "reference" / "data_efficiency.json"


def config() -> ExperimentConfig:
    """Defaults of this study; every value can be overridden on the command line."""
    return ExperimentConfig(
        name="llava_med_100pct",
        data=PhantomConfig(fraction=1.0),
        alignment=head_config("none"),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv, reference=REFERENCE)


if __name__ == "__main__":
    main()
