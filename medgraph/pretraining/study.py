"""What studies of pre-training compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medgraph.config import ConfigError
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


def study_encoders(folder: Path) -> dict[str, str]:
    """Towers that a study of pre-training has left behind, by arm; ``{seed}`` in their paths is the seed of a run.

    Raises:
        ConfigError: if there are none.
    """
    arms = sorted({encoder.parents[1].name for encoder in folder.glob("*/seed-*/encoder")})
    if not arms:
        raise ConfigError(f"encoders={folder}: found no ARM/seed-0/encoder; expected the folder of a study of "
                          "pre-training, such as runs/lvm_med/HASH")  # fmt: skip
    return {arm: f"{folder}/{arm}/seed-{{seed}}/encoder" for arm in arms}
