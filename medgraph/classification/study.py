"""Studies of classifiers: what their arms share and what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from medgraph.classification.options import ClassifierConfig, check
from medgraph.classification.report import CURVES
from medgraph.classification.run import classify
from medgraph.config import DataConfig, PhantomConfig
from medgraph.data import build_corpus
from medgraph.data.images import KeptImages
from medgraph.data.records import Corpus
from medgraph.training.arms import ArmStudy, keep_last

MEASURED = "Equal steps, batches and order of images; measured once on the test split."
COMPARED = (
    ("accuracy", "Accuracy", MEASURED),
    ("macro_auroc", "Macro AUROC", MEASURED),
    ("macro_f1", "Macro F1", f"{MEASURED} Thresholds are chosen on validation."),
)


def read_kept(config: DataConfig) -> Corpus:
    """Build a corpus that keeps its decoded images."""
    corpus = build_corpus(config)
    return replace(corpus, load_image=KeptImages(corpus.load_image))


def classifier_study(
    name: str, title: str, arms: Mapping[str, Sequence[str]], default: Sequence[str], seeds: int = 5
) -> ArmStudy:
    """A study of classifiers on phantoms, or on whatever its arguments say.

    Args:
        name: folder of the study.
        title: heading of its report.
        arms: see `ArmStudy`.
        default: see `ArmStudy`.
        seeds: how many, from 0.
    """
    data = PhantomConfig(num_train=240, num_val=120, num_test=480, num_ood=0, num_modalities=2, num_areas=2)
    return ArmStudy(
        title=title,
        base=ClassifierConfig(name=name, data=data),
        arms=arms,
        default=default,
        check=check,
        run=partial(classify, read=keep_last(read_kept)),
        compared=COMPARED,
        curves=CURVES,
        seeds=seeds,
    )
