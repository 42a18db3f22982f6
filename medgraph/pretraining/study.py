"""What studies of pre-training compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medgraph.pretraining.options import PretrainConfig, check
from medgraph.pretraining.report import CURVES
from medgraph.pretraining.run import pretrain
from medgraph.training.arms import ArmStudy

_PROBED = "Fitted on training labels, chosen on validation; equal steps, batches, views, projector and learning rate."
COMPARED = (("linear", "Accuracy of a linear probe", _PROBED), ("knn", "Accuracy of a k-NN probe", _PROBED))
"""Name, title and protocol of every figure, the one that a study is about first."""


def pretrain_study(
    title: str, base: PretrainConfig, arms: Mapping[str, Sequence[str]], default: Sequence[str], seeds: int = 3
) -> ArmStudy:
    """A study of pre-training for `medgraph.training.arms.run_arms`; arguments as those of `ArmStudy`."""
    return ArmStudy(title, base, arms, default, check, pretrain, COMPARED, CURVES[1:], seeds)
