"""Which loss on images and texts gives the better dual encoder: CLIP's (PubMedCLIP), ConVIRT's or MGCA's?

A CLIP is trained on pairs, then classifies by prompts, finds texts by images and images by texts, and its vision tower
is probed with 1, 10 and 100 % of the labels. All arms share encoders, pairs, steps, batches, augmentation and learning
rate; differences are taken to the encoders without any training, seed by seed.

    lightning run experiments/contrast.py                            # random, PubMedCLIP, ConVIRT, MGCA; 3 seeds
    lightning run experiments/contrast.py arms=mgca,mgca_no_tokens,mgca_no_prototypes seeds=5
    lightning run experiments/contrast.py data=conversations data.root=FILE text=answer
    lightning run experiments/contrast.py encoder=openai/clip-vit-base-patch32 lr=1e-5 data=medmat data.root=PATH

`pubmed_clip` is PubMedCLIP where it starts from a CLIP, as in the last line: CLIP's loss with a learnt temperature on
captions (arXiv:2112.13906). ConVIRT: arXiv:2010.00747; MGCA: arXiv:2210.06044.

Finished runs are skipped and interrupted ones continue, so arms and seeds can be added later. ``encoder/`` in the
folder of a run is the whole dual encoder; ``model.vision=FOLDER/encoder`` starts a `MedVLM` from its vision tower.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from medgraph.config import PhantomConfig
from medgraph.console import user_errors
from medgraph.contrast.options import ContrastConfig
from medgraph.contrast.study import contrast_study
from medgraph.evaluation.comparison import Comparison
from medgraph.training.arms import ArmStudy, run_arms

MGCA = ("alignment=mgca", "alignment.num_prototypes=100")
ARMS: dict[str, tuple[str, ...]] = {
    "random": ("steps=0",),
    "pubmed_clip": (),
    "convirt": ("alignment=convirt", "alignment.projection=0", "sentences=true"),
    "mgca": MGCA,
    "convirt_whole_text": ("alignment=convirt", "alignment.projection=0"),
    "mgca_no_tokens": (*MGCA, "alignment.token_weight=0"),
    "mgca_no_prototypes": (*MGCA, "alignment.prototype_weight=0"),
}
"""Arms by name: the methods, then what ConVIRT's sampling and MGCA's levels do."""


def plan() -> ArmStudy:
    """The arms and what they share."""
    data = PhantomConfig(
        num_train=1000, num_task=1, num_val=200, num_test=300, num_ood=0, num_modalities=3, num_areas=2, holdout=0,
        questions_per_image=1, augment=["shift", "intensity"],
    )  # fmt: skip
    base = ContrastConfig(
        name="contrast", data=data, steps=400, lr=2e-3,
        templates=["the image shows {}.", "one sees {}.", "this is an image of {}.", "{}."],
        words=["normal:no abnormality", "lung:the lungs", "brain:the brain"],
    )  # fmt: skip
    title = "Dual encoders trained by contrast: PubMedCLIP, ConVIRT and MGCA against random weights"
    return contrast_study(title, base, ARMS, ("random", "pubmed_clip", "convirt", "mgca"))


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    """Run, compare and report."""
    with user_errors():
        return run_arms(plan(), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
