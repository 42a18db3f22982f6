"""Does an alignment loss on 10 % of the data match language modelling on 100 %? All arms, several seeds, paired tests.

All arms take the same optimiser steps and share seeds. `llava_med_10pct_extended` reads the same texts as the alignment
arms, so differences are taken to it; `llava_med_10pct_long` takes three times the steps, about their compute. "10 %
matches 100 %" means something only if the 100 % arm could not be better: the report tests whether its validation curve
is flat. (A learning rate that decays flattens every curve, so look at more `stage2.steps` as well.)
Published for the 7B model on VQA-RAD (arXiv:2410.02615): LM loss on 10 % 52.4 and on 100 % 72.6, InfoNCE on 10 % 68.5,
ExGra-Med on 10 % 72.5.

    lightning run experiments/data_efficiency.py                      # 3 seeds, two runs at a time
    lightning run experiments/data_efficiency.py seeds=8 workers=4 stage2.steps=1000
    lightning run experiments/data_efficiency.py data=medmat data.root=PATH
    lightning run experiments/data_efficiency.py save_reference=true  # what the other experiments show beside their own

Finished runs are skipped and interrupted ones continue, so more seeds can be added later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from medgraph.console import user_errors
from medgraph.evaluation.study import Study
from medgraph.training.study import Arm, StudyPlan, run_study

HERE = Path(__file__).parent


def plan() -> StudyPlan:
    """Arms of the study; all differences are taken to the baseline that reads the same texts."""
    names = (
        "llava_med_10pct_extended",
        "llava_med_10pct",
        "infonce_10pct",
        "infonce_10pct_extended",
        "exgra_10pct",
        "llava_med_100pct",
    )
    arms = [Arm(name, HERE / f"{name}.py") for name in names]
    arms.append(Arm("llava_med_10pct_long", HERE / "llava_med_10pct.py", longer=3))
    return StudyPlan(
        name="data_efficiency",
        title="Data efficiency: alignment on 10 % against language modelling on 100 %",
        arms=arms,
        reference="llava_med_10pct_extended",
        full_data="llava_med_100pct",
        notes=(
            "Differences are taken to llava_med_10pct_extended, which reads the same texts as the alignment arms: a "
            "gain over llava_med_10pct alone would measure the extended answers as much as the method.",
            "llava_med_10pct_long takes three times the steps of stage 2, about the compute of an alignment arm.",
            "A learning rate that decays flattens every validation curve: run the study with more stage2.steps before "
            "saying that the 100 % arm could not be better.",
            "exgra_10pct is the corrected form of the method; alignment.preset=official is the released one.",
        ),
        save=HERE / "reference" / "data_efficiency.json",
    )


def main(argv: Sequence[str] | None = None) -> Study:
    """Run, compare and report."""
    with user_errors():
        return run_study(plan(), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
