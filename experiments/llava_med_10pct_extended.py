"""LLaVA-Med on 10 % of the data with LM loss on the extended answers too: the control that decides.

Whatever an alignment method gains over LM loss alone must be compared with this arm, which reads the same texts.
The paper (arXiv:2410.02615) has no such arm.

    lightning run experiments/llava_med_10pct_extended.py
    lightning run experiments/llava_med_10pct_extended.py seed=1 data=medmat data.root=PATH
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, head_config
from medgraph.training.launch import launch

if TYPE_CHECKING:
    from medgraph.training.run import Outcome

REFERENCE = Path(__file__).parent / "reference" / "data_efficiency.json"


def config() -> ExperimentConfig:
    """Defaults of this study; every value can be overridden on the command line."""
    return ExperimentConfig(
        name="llava_med_10pct_extended",
        data=PhantomConfig(fraction=0.1),
        alignment=head_config("none"),
        stage2=StageConfig(extended_lm=True),
    )


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Train, answer, score and report."""
    return launch(config, argv, reference=REFERENCE)


if __name__ == "__main__":
    main()
