"""Detection and segmentation sets: an image and a mask of the same name become a question about where something is.

Med-MAT lists 16 such subsets (38 to 53) and released no questions for them; this reader makes them from the masks of
the source data sets.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image

from medgraph.config import ConfigError, MasksConfig
from medgraph.data.boxes import Box, box_text, mask_boxes
from medgraph.data.errors import DataError
from medgraph.data.images import decode
from medgraph.data.paths import is_image
from medgraph.data.policy import Policy
from medgraph.data.readers.common import make_corpus, qa_record
from medgraph.data.records import Corpus, Record
from medgraph.data.vocabulary import parse_triplet


def build_masks(config: MasksConfig) -> Corpus:
    """Read ``root/images`` and ``root/masks``; a mask has its image's name, with any suffix.

    Returns:
        One record an image and class, the answer being its boxes. Images with an empty mask are left out and counted.

    Raises:
        DataError: for a missing mask, a mask of another size, or a mask value without a name.
        ConfigError: for classes that are not ``value:name``.
    """
    root, policy = Path(config.root), Policy.of(config)
    place, classes = parse_triplet(config.triplet), _classes(config.classes)
    paths = sorted(path for path in (root / "images").rglob("*") if is_image(path.name))
    found = list(policy.usable(partial(_questions, config, classes), paths))
    policy.notes["images with an empty mask, left out"] += sum(not records for records in found)
    records = [replace(r, triplet=place, question_type=place.task) for records in found for r in records]
    return make_corpus({"train": records}, root, config, policy)


def _classes(texts: Sequence[str]) -> dict[int, str]:
    named = [text.partition(":") for text in texts]
    if not named or not all(value.strip().isdecimal() and name.strip() for value, _, name in named):
        raise ConfigError(f"data.classes={list(texts)}: expected value:name of every mask value, e.g. [255:polyp]")
    return {int(value): name.strip() for value, _, name in named}


def _questions(config: MasksConfig, classes: Mapping[int, str], path: Path) -> list[Record]:
    root = Path(config.root)
    relative = path.relative_to(root).as_posix()
    _, mask = read_pair(path, root)
    height, width = mask.shape
    boxes: dict[int, list[Box]] = {}
    for value, box in mask_boxes(mask, config.per):
        boxes.setdefault(value, []).append(box)
    if unknown := sorted(set(boxes) - set(classes)):
        raise DataError.at("mask_value", path, found=unknown[0], expected=f"one of {sorted(classes)}",
                           fix="name the value in data.classes")  # fmt: skip
    return [
        replace(
            qa_record(root.name, f"{relative}/{value}", relative, f"Where is the {classes[value]}? Give its box.",
                      box_text(own, width, height, config.style), kind="open"),
            label=classes[value],  # boxes differ from image to image, so nothing could be balanced over them
        )
        for value, own in sorted(boxes.items())
    ]  # fmt: skip


def read_pair(image: Path, root: Path) -> tuple[PIL.Image.Image, np.ndarray]:
    """Decode an image below ``root/images`` and the mask of its name below ``root/masks``.

    Returns:
        RGB image, and (height, width) values of the mask as they are stored: indices where it has a palette, the first
        channel where it has several.

    Raises:
        DataError: if the image cannot be decoded, or its mask is missing, unreadable or of another size.
    """
    folder = root / "masks" / image.relative_to(root / "images").parent
    found = sorted(folder.glob(f"{glob.escape(image.stem)}.*"))
    if len(found) != 1:
        names, expected = [path.name for path in found], f"one mask {folder / image.stem}.*"
        raise DataError.at("mask_missing", image, found=names, expected=expected, fix="add it or remove the image")
    try:
        with PIL.Image.open(found[0]) as opened:
            values = np.asarray(opened)
    except (OSError, SyntaxError) as error:
        raise DataError.at("mask_unreadable", found[0], found=str(error), expected="a complete image file",
                           fix="export the mask again") from error  # fmt: skip
    picture, mask = decode(image), values if values.ndim == 2 else values[..., 0]
    if picture.size != mask.shape[::-1]:
        width, height = picture.size
        raise DataError.at(
            "mask_size", found[0], found=f"{mask.shape[1]} x {mask.shape[0]} pixels",
            expected=f"{width} x {height} as in {image}", fix="export the masks at the size of the images",
        )  # fmt: skip
    return picture, mask
