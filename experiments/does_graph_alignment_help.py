"""Does the structure of a batch help beyond InfoNCE? Settings chosen on validation, confirmed on test with fresh seeds.

The baseline to beat is `infonce`: InfoNCE plus language modelling on the extended answers, which all arms read.

1. Screening: every method tries its settings with two seeds of their own and is judged on the validation split alone.
2. Confirmation: the chosen settings, eight fresh seeds, one look at the tests, paired differences to `infonce`.

Methods: `soft_infonce` (targets from text similarity), `structure` (consensus logits, or a relational term: Gromov-
Wasserstein, KL, CKA), `exgra` (leave-one-out or pairwise, with and without edges, discrete or Sinkhorn matching).
Controls: `lm_extended`, no alignment at about equal compute (a quarter more steps), and `factors`, an oracle whose
targets know modality, area and finding of every sample: what it gains bounds what estimated structure can gain.
Published for the 7B model on VQA-RAD at 10 % (arXiv:2410.02615, Table 1): InfoNCE 68.5, ExGra-Med 72.5; neither reads
the extended answers with the language model.

    lightning run experiments/does_graph_alignment_help.py                  # about 80 minutes on two idle cores
    lightning run experiments/does_graph_alignment_help.py data=medmat data.root=PATH
    lightning run experiments/does_graph_alignment_help.py stage2.batch_size=256 workers=1   # larger graphs, on a GPU

Finished runs are skipped and interrupted ones continue.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from medgraph.console import user_errors
from medgraph.evaluation.study import Study
from medgraph.training.screening import Family
from medgraph.training.study import Arm, StudyPlan, run_study

HERE = Path(__file__).parent
BASE = HERE / "infonce_10pct_extended.py"
DEFAULTS = ("seeds=8", "stage2.steps=200", "stage3.steps=0")
"""Without stage 3, whose fine-tuning on the small task set blurs what stage 2 has learnt."""
PHANTOMS = ("data.questions_per_image=1", "data.num_val=500", "data.num_test=600", "data.num_ood=600")
"""One question an image halves the cost of a step; larger validation and test sets give narrower intervals."""


def plan() -> StudyPlan:
    """Methods, their settings, and the controls."""
    exgra = ("alignment=exgra", "alignment.target=pairwise")
    entropic = (*exgra, "alignment.gradient=entropic")
    families = (
        _family("infonce", t10=("alignment.temperature=0.1",), t05=("alignment.temperature=0.05",)),
        _family(
            "soft_infonce",
            soft10=("alignment=soft_infonce", "alignment.softness=0.1"),
            soft30=("alignment=soft_infonce", "alignment.softness=0.3"),
        ),
        _family(
            "structure",
            consensus=("alignment=consensus", "alignment.weight=0.3"),
            gromov_wasserstein=("alignment=relational", "alignment.structure=gromov_wasserstein"),
            kl=("alignment=relational", "alignment.structure=kl"),
            cka=("alignment=relational", "alignment.structure=cka"),
        ),
        _family(
            "exgra",
            leave_one_out=("alignment=exgra",),
            pairwise=exgra,
            pairwise_edges=(*exgra, "alignment.edge_weight=0.05"),
            sinkhorn=entropic,
            sinkhorn_edges=(*entropic, "alignment.edge_weight=0.1"),
        ),
    )
    arms = (
        Arm("lm_extended", HERE / "llava_med_10pct_extended.py", longer=1.25),
        Arm("factors", BASE, ("alignment=medgraph.alignment.heads.factors.FactorsHead",)),
    )
    return StudyPlan(
        name="does_graph_alignment_help",
        title="Does graph alignment help? Structure of the batch against InfoNCE at equal text",
        arms=arms,
        families=families,
        reference="infonce",
        notes=(
            "All arms train the language model on the same short and extended answers; differences are taken to "
            "InfoNCE on the same text.",
            "lm_extended has no alignment and takes a quarter more steps of stage 2, about the compute of the others.",
            "factors is an oracle: its soft targets know modality, area and finding of every sample.",
        ),
    )


def _family(name: str, **settings: tuple[str, ...]) -> Family:
    return Family(name, [Arm(f"{name}-{setting}", BASE, overrides) for setting, overrides in settings.items()])


def main(argv: Sequence[str] | None = None) -> Study:
    """Screen, confirm and report."""
    given = sys.argv[1:] if argv is None else list(argv)
    phantoms = (
        () if any(argument.startswith("data=") and argument != "data=phantom" for argument in given) else PHANTOMS
    )
    with user_errors():
        return run_study(plan(), [*DEFAULTS, *phantoms, *given])


if __name__ == "__main__":
    main()
