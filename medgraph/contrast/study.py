"""What studies of dual-encoder pre-training compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medgraph.contrast.options import ContrastConfig, check
from medgraph.contrast.report import CURVES
from medgraph.contrast.run import pretrain_dual
from medgraph.training.arms import ArmStudy

_PROMPTS = "Nothing is fitted: an image is what the nearest prompt says. Ties count by their share."
_SEARCH = "Among all pairs of the test split; equal texts answer each other, ties count against the model."
_PROBE = "Logistic regression on features of the frozen tower; decay is chosen on validation, at every share of labels."
COMPARED = (
    ("zero_shot_label", "Zero-shot accuracy, label", f"{_PROMPTS} Labels are told apart within their subset."),
    ("zero_shot_modality", "Zero-shot accuracy, modality", _PROMPTS),
    ("zero_shot_area", "Zero-shot accuracy, area", _PROMPTS),
    *((f"{way}_{k}", f"Recall@{k}, {way.replace('_', ' ')}", _SEARCH)
      for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)),
    *((f"linear_{share}", f"Accuracy of a linear probe, {share} % of the labels", _PROBE) for share in (1, 10, 100)),
)  # fmt: skip
"""Name, title and protocol of every figure, the one that a study is about first."""


def contrast_study(
    title: str, base: ContrastConfig, arms: Mapping[str, Sequence[str]], default: Sequence[str], seeds: int = 3
) -> ArmStudy:
    """A study of dual encoders for `medgraph.training.arms.run_arms`; arguments as those of `ArmStudy`."""
    return ArmStudy(title, base, arms, default, check, pretrain_dual, COMPARED, CURVES, seeds)
