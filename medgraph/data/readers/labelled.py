"""From labelled images to a subset: released questions are not needed, choice questions are made from the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medgraph.data.assemble import LoadedSubset
from medgraph.data.convert import QuestionConverter
from medgraph.data.medmat_files import Item
from medgraph.data.registry import SubsetSpec


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its class.

    Attributes:
        image: path relative to the root.
        label: class name; for multi-label subsets comma-joined names.
        group: what must not be split; empty: the image.
        split: published split (``train``, ``val``, ``test``), or "".
    """

    image: str
    label: str
    group: str = ""
    split: str = ""


def make_subset(spec: SubsetSpec, images: Sequence[LabelledImage], seed: int) -> LoadedSubset:
    """Make the choice questions of a subset, letters balanced.

    Args:
        spec: its triplet and name.
        images: its images; either all have a split or none.
        seed: seed of the questions.

    Raises:
        ValueError: if there are fewer than two labels, or only some images have a split.
    """
    with_split = [image for image in images if image.split]
    if with_split and len(with_split) < len(images):
        odd = next(image for image in images if not image.split)
        raise ValueError(f"{spec.key}: {odd.image} has no split but others have; give all of them one, or none")
    labels = sorted({image.label for image in images})
    convert = QuestionConverter(labels, spec.triplet, multilabel=spec.multilabel, seed=seed)
    choices = convert.balanced({image.image: image.label for image in images})
    return LoadedSubset(
        spec,
        [Item(i.image, i.image, i.label, choices[i.image].question, choices[i.image].options) for i in images],
        [image.image for image in images],
        [image.group or image.image for image in images],
        splits=[image.split for image in with_split],
    )
