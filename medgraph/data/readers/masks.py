"""Detection and segmentation sets: an image and a mask of the same name become a question about where something is.

Med-MAT lists 16 such subsets (38 to 53) and released no questions for them; this reader makes them from the masks of
the source data sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image

from medgraph.data.boxes import Style, box_text, mask_boxes
from medgraph.data.errors import DataError
from medgraph.data.images import decode
from medgraph.data.paths import IMAGE_SUFFIXES
from medgraph.data.readers.common import make_corpus, qa_record
from medgraph.data.records import Corpus
from medgraph.data.vocabulary import parse_triplet


def read_masks(
    root: Path,
    triplet: str,
    classes: Mapping[int, str],
    per: Literal["class", "component"] = "class",
    style: Style = "minigpt_v2",
    fraction: float = 1.0,
    seed: int = 0,
) -> Corpus:
    """Read ``root/images`` and ``root/masks``.

    Args:
        root: the folder; a mask has its image's name, with any suffix.
        triplet: ``modality/area/task`` of all images, e.g. ``End/Intestine/polyp_det``.
        classes: mask value to name; any other value that is not 0 is an error.
        per: see `medgraph.data.boxes.mask_boxes`.
        style: how boxes are written.
        fraction: share of the training images.
        seed: seed of the groups held back for ``val`` and ``task``.

    Returns:
        One record an image and class, the answer being its boxes. Images with an empty mask are left out and counted.

    Raises:
        DataError: for a missing mask, a mask of another size, or a mask value without a name.
    """
    place = parse_triplet(triplet)
    notes: Counter[str] = Counter()
    records = []
    for path in sorted(p for p in (root / "images").rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        relative = path.relative_to(root)
        mask = _mask(path, root)
        height, width = mask.shape
        if decode(path).size != (width, height):
            raise DataError.at("mask_size", path, found=f"{width} x {height} mask of a {decode(path).size} image",
                               expected="equal sizes", fix="export the masks at the size of the images")  # fmt: skip
        boxes = mask_boxes(mask, per)
        notes["images with an empty mask, left out"] += not boxes
        for value in sorted({value for value, _ in boxes}):
            if value not in classes:
                raise DataError.at("mask_value", path, found=value, expected=f"one of {sorted(classes)}",
                                   fix="name the value in classes")  # fmt: skip
            own = [box for other, box in boxes if other == value]
            question = f"Where is the {classes[value]}? Give its box."
            name, answer = f"{relative.as_posix()}/{value}", box_text(own, width, height, style)
            record = qa_record(root.name, name, relative.as_posix(), question, answer, kind="open")
            records.append(replace(record, triplet=place, question_type=place.task))
    return make_corpus({"train": records}, root, fraction=fraction, seed=seed, notes=notes)


def _mask(image: Path, root: Path) -> np.ndarray:
    folder = root / "masks" / image.relative_to(root / "images").parent
    found = sorted(folder.glob(f"{image.stem}.*"))
    if len(found) != 1:
        names, expected = [path.name for path in found], f"one mask {folder / image.stem}.*"
        raise DataError.at("mask_missing", image, found=names, expected=expected, fix="add it or remove the image")
    with PIL.Image.open(found[0]) as opened:
        values = np.asarray(opened)
    return values if values.ndim == 2 else values[..., 0]
