"""LLaVA-Med on 10 % of the instruction data: LM loss alone.

The baseline; it never sees the extended answers.
Published for the 7B model (arXiv:2410.02615, average of open recall and closed accuracy):
VQA-RAD 52.4 (open 43.4, closed 61.4), SLAKE 80.6, PathVQA 56.2.

    lightning run experiments/llava_med_10pct.py
    lightning run experiments/llava_med_10pct.py seed=1 data=medmat data.root=PATH
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
        name="llava_med_10pct",
        data=PhantomConfig(fraction=0.1),
        alignment=head_config("none"),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv, reference=REFERENCE)


if __name__ == "__main__":
    main()
