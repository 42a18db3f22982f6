"""The questions of a split as they are put to a model: as they are, with something taken away, or changed.

Every view asks the same questions under the same ids; ``Prediction.control`` names the view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medgraph.data.records import Image, Record
from medgraph.evaluation.choice import rotations
from medgraph.evaluation.corruptions import SEVERITIES, corrupted

LoadImage = Callable[[str], Image]
Splits = Mapping[str, Sequence[Record]]


@dataclass(frozen=True, slots=True)
class View:
    """One way to ask the questions of a split.

    Attributes:
        split: name of the split.
        control: ``none``, or what was changed.
        records: the questions as asked.
        images: loads an image; None asks without images.
    """

    split: str
    control: str
    records: Sequence[Record]
    images: LoadImage | None


def plain_views(splits: Splits, images: LoadImage, controls: bool, seed: int = 0) -> Iterator[View]:
    """Every split as it is and, as controls, without the image (``no_image``) and with another (``shuffled_image``).

    Args:
        splits: records by split name.
        images: loads an image.
        controls: whether to ask the controls too.
        seed: of the choice of other images.
    """
    for split, records in splits.items():
        yield View(split, "none", records, images)
        if controls:
            yield View(split, "no_image", records, None)
            yield View(split, "shuffled_image", shuffle_images(records, seed), images)


def shuffle_images(records: Sequence[Record], seed: int = 0) -> list[Record]:
    """Give every question the image of another one; questions about the same image stay together.

    Nothing is returned for a single image, which has no other.
    """
    image_of = {record.image_id: record.image for record in records}
    ids = np.random.default_rng(seed).permutation(sorted(image_of)).tolist()
    if len(ids) < 2:
        return []
    other = dict(zip(ids, [*ids[1:], ids[0]], strict=True))  # one cycle: no image keeps its place
    return [replace(record, image=image_of[other[record.image_id]]) for record in records]


def rotated_views(splits: Splits, images: LoadImage) -> Iterator[View]:
    """Choice questions with their options rotated by 1, 2 … places (``rotation_1`` …); the given order is no view."""
    for split, records in splits.items():
        choices = [record for record in records if record.answer_type == "choice"]
        for turn in range(1, max((len(record.options) for record in choices), default=0)):
            turned = [
                replace(record, options=rotations(record.options)[turn])
                for record in choices
                if turn < len(record.options)
            ]
            yield View(split, f"rotation_{turn}", turned, images)


def corrupted_views(splits: Splits, images: LoadImage, names: Sequence[str], seed: int = 0) -> Iterator[View]:
    """Every split with each corruption at each severity (``blur/low`` …)."""
    for split, records in splits.items():
        for name in names:
            for severity in SEVERITIES:
                yield View(split, f"{name}/{severity}", records, corrupted(images, name, severity, seed))
