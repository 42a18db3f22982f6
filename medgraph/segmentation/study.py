"""Studies of segmentation: what their arms share and what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from medgraph.config import PhantomConfig
from medgraph.segmentation.masks import masked_images
from medgraph.segmentation.options import SegmentationConfig, check
from medgraph.segmentation.report import CURVES
from medgraph.segmentation.run import segment
from medgraph.training.arms import ArmStudy, keep_last

_MEASURED = "Equal steps, batches, order of images and decoder; pixels of all test images together, measured once."
COMPARED = (
    ("dice", "Mean Dice coefficient of the classes", _MEASURED),
    ("iou", "Mean intersection over union of the classes", _MEASURED),
)
"""Name, title and protocol of every figure, the one that a study is about first."""


def segmentation_study(
    name: str, title: str, arms: Mapping[str, Sequence[str]], default: Sequence[str], seeds: int = 3
) -> ArmStudy:
    """A study of segmentation on phantoms, or on whatever its arguments say; arguments as those of `ArmStudy`."""
    data = PhantomConfig(num_train=1000, num_val=100, num_test=400, num_ood=0)
    # 300 steps teach one class of three.
    base = SegmentationConfig(name=name, data=data, steps=1000, validate_every=200)
    run = partial(segment, read=keep_last(masked_images))
    return ArmStudy(title, base, arms, default, check, run, COMPARED, CURVES[::-1], seeds)
