"""Studies of classifiers: what their arms share and what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medgraph.classification.options import ClassifierConfig, check
from medgraph.classification.run import classify
from medgraph.config import PhantomConfig
from medgraph.pretraining.study import PretrainStudy

MEASURED = "Equal steps, batches and order of images; measured once on the test split."
COMPARED = (
    ("accuracy", "Accuracy", MEASURED),
    ("macro_auroc", "Macro AUROC", MEASURED),
    ("macro_f1", "Macro F1", f"{MEASURED} Thresholds are chosen on validation."),
)
CURVES = (
    ("Accuracy on validation", {"val/accuracy": "accuracy"}),
    ("Cross entropy on validation", {"val/loss": "loss"}),
    ("Training loss, which differs between mixes", {"train/loss": "loss"}),
)


def classifier_study(
    name: str, title: str, arms: Mapping[str, Sequence[str]], default: Sequence[str], seeds: int = 5
) -> PretrainStudy:
    """A study of classifiers on phantoms, or on whatever its arguments say.

    Args:
        name: folder of the study.
        title: heading of its report.
        arms: see `PretrainStudy`.
        default: see `PretrainStudy`.
        seeds: how many, from 0.
    """
    data = PhantomConfig(num_train=240, num_val=120, num_test=480, num_ood=0, num_modalities=2, num_areas=2)
    return PretrainStudy(
        title=title,
        base=ClassifierConfig(name=name, data=data),
        arms=arms,
        default=default,
        seeds=seeds,
        check=check,
        run=classify,
        compared=COMPARED,
        curves=CURVES,
    )
