"""A folder of images by label: ``root/<label>/…``, or ``root/<split>/<label>/…`` with published splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medgraph.data.assemble import assemble_held_out
from medgraph.data.errors import DataError
from medgraph.data.paths import IMAGE_SUFFIXES
from medgraph.data.readers.labelled import LabelledImage, make_subset
from medgraph.data.records import Corpus
from medgraph.data.registry import SubsetSpec
from medgraph.data.vocabulary import parse_triplet

SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                 "test": "test", "testing": "test"}  # fmt: skip


def read_folder(
    root: Path, triplet: str | Mapping[str, str], ood: Sequence[str] = (), seed: int = 0, **options: Any
) -> Corpus:
    """Read images whose folder names their label.

    Args:
        root: the folder.
        triplet: ``modality/area/task`` of all images; or subfolder to triplet, each subfolder being a subset.
        ood: subsets to hold out; none: chosen so that every element still occurs in training.
        seed: seed of splits and questions.
        options: further arguments of `medgraph.data.assemble.assemble`.

    Returns:
        Two records an image, as for Med-MAT. The group of an image is the image itself: if several images show one
        patient, use a manifest, which has a column for it.

    Raises:
        DataError: if a subset has no images or only one label.
        ValueError: for a triplet that cannot be read.
    """
    named = {".": triplet} if isinstance(triplet, str) else triplet
    subsets = []
    for number, (folder, text) in enumerate(named.items()):
        images = sorted(_images(root, root / folder), key=lambda image: image.image)
        labels = sorted({image.label for image in images})
        if len(labels) < 2:
            raise DataError.at("too_few_labels", root / folder, found=labels,
                               expected="at least two subfolders with images, one for each label",
                               fix="sort the images into folders named after their label")  # fmt: skip
        name = root.resolve().name if folder == "." else folder
        subsets.append(make_subset(SubsetSpec(1000 + number, parse_triplet(text), slug=name), images, seed))
    return assemble_held_out(subsets, root, ood, seed=seed, **options)


def _images(root: Path, folder: Path) -> Iterator[LabelledImage]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            parts = path.relative_to(folder).parts
            split = SPLIT_FOLDERS.get(parts[0].lower(), "") if len(parts) > 2 else ""
            label = parts[1] if split else parts[0]
            if len(parts) > 1:
                yield LabelledImage(path.relative_to(root).as_posix(), label, split=split)
