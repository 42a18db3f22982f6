"""A folder of images by label: ``root/<label>/…``, or ``root/<split>/<label>/…`` with published splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from medgraph.config import ConfigError, FolderConfig
from medgraph.data.assemble import assemble_held_out
from medgraph.data.errors import DataError
from medgraph.data.paths import is_image
from medgraph.data.policy import Policy
from medgraph.data.readers.labelled import LabelledImage, make_subset
from medgraph.data.readers.tables import SPLIT_NAMES
from medgraph.data.records import Corpus
from medgraph.data.registry import SubsetSpec
from medgraph.data.vocabulary import parse_triplet


def build_folder(config: FolderConfig) -> Corpus:
    """Read images whose folder names their label.

    Returns:
        Two records an image, as for Med-MAT. The group of an image is the image itself: if several images show one
        patient, use a manifest, which has a column for it.

    Raises:
        DataError: if a subset has no images or only one label.
        ConfigError: if the triplets are not given as the configuration describes.
        ValueError: for a triplet that cannot be read.
    """
    root, policy = Path(config.root), Policy.of(config)
    subsets = []
    for number, (folder, text) in enumerate(_triplets(config.triplet).items()):
        found = sorted(_images(root, root / folder), key=lambda image: image.image)
        images = [image for image in found if image.image not in policy.images]
        policy.notes["quarantined: image listed as unreadable"] += len(found) - len(images)
        labels = sorted({image.label for image in images})
        if len(labels) < 2:
            raise DataError.at("too_few_labels", root / folder, found=labels,
                               expected="at least two subfolders with images, one for each label",
                               fix="sort the images into folders named after their label")  # fmt: skip
        name = root.resolve().name if folder == "." else folder
        subsets.append(make_subset(SubsetSpec(1000 + number, parse_triplet(text), slug=name), images, config.seed))
    return assemble_held_out(subsets, root, config.ood_subsets, max_per_subset=config.max_per_subset,
                             fraction=config.fraction, extended=config.extended, seed=config.seed,
                             notes=policy.notes)  # fmt: skip


def _triplets(texts: Sequence[str]) -> dict[str, str]:
    """Subfolder to triplet; ``.`` is the root."""
    if len(texts) == 1 and ":" not in texts[0]:
        return {".": texts[0]}
    if not texts or not all(":" in text for text in texts):
        raise ConfigError(f"data.triplet={list(texts)}: expected modality/area/task of all images, or "
                          "[subfolder:modality/area/task, …] with one entry a subset")  # fmt: skip
    return {folder: text for folder, _, text in (text.partition(":") for text in texts)}


def _images(root: Path, folder: Path) -> Iterator[LabelledImage]:
    for path in folder.rglob("*"):
        if is_image(path.name) and path.is_file():
            parts = path.relative_to(folder).parts
            split = SPLIT_NAMES.get(parts[0].lower(), "") if len(parts) > 2 else ""
            label = parts[1] if split else parts[0]
            if len(parts) > 1:
                yield LabelledImage(path.relative_to(root).as_posix(), label, split=split)
