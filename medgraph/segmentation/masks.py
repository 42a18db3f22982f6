"""Images with masks: phantoms and the regions of their findings, or a folder of pairs.

Letters: S side in pixels, K classes, the background first. Does not import torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from medgraph.config import ConfigError, DataConfig, PhantomConfig
from medgraph.data.errors import DataError
from medgraph.data.images import KeptImages
from medgraph.data.paths import is_image
from medgraph.data.readers.masks import read_pair
from medgraph.data.records import Image

SPLITS = ("train", "val", "test")
MAX_CLASSES = 64  # masks with more grey values than this are smoothed or compressed


@dataclass(frozen=True, slots=True)
class MaskedImages:
    """A data set for segmentation.

    Attributes:
        classes: K names, the background first.
        splits: names of the images of train, val and test; val may be empty.
        fingerprint: of images and masks.
        load: makes (S, S, 4) uint8 of a name and a side S: RGB, and the number of each pixel's class.
    """

    classes: Sequence[str]
    splits: Mapping[str, Sequence[str]]
    fingerprint: str
    load: Callable[[str, int], Image]


def masked_images(data: DataConfig, masks: str) -> MaskedImages:
    """Choose the source: a folder of pairs if ``masks`` names one, else the phantoms of ``data``.

    Raises:
        ConfigError: if neither has masks.
        DataError: if the folder lacks images or masks, or its masks do not number classes.
    """
    if masks:
        return read_pairs(Path(masks))
    if isinstance(data, PhantomConfig):
        return masked_phantoms(data)
    raise ConfigError(f"data={data.name} has no masks for segmentation; give masks=FOLDER, or data=phantom")


def masked_phantoms(config: PhantomConfig) -> MaskedImages:
    """Phantoms with the mask of their finding; normal images are background only.

    Raises:
        ConfigError: if a split has images and no finding.
    """
    from medgraph.data.phantom.corpus import build_phantom
    from medgraph.data.phantom.factors import FactorSpace
    from medgraph.data.phantom.masks import finding_mask
    from medgraph.data.phantom.render import render

    corpus, space = build_phantom(config), FactorSpace(config)
    classes = ["background", *(finding for finding in space.findings if finding != "normal")]
    splits = {name: list(dict.fromkeys(record.image for record in corpus.splits[name])) for name in SPLITS}
    for name, images in splits.items():
        if images and all(space.draw(int(image)).finding == "normal" for image in images):
            raise ConfigError(f"data.num_{name}={len(images)}: none of these phantoms has a finding; raise it")

    def load(image: str, side: int) -> Image:
        factors = space.appearance(space.draw(int(image)))
        number = 0 if factors.finding == "normal" else classes.index(factors.finding)
        return np.dstack([render(factors, side), number * finding_mask(factors, side).astype(np.uint8)])

    return MaskedImages(classes, splits, corpus.fingerprint(), KeptImages(load))


def read_pairs(root: Path) -> MaskedImages:
    """Read ``train``, ``test`` and, where it is there, ``val`` below a folder, each with ``images`` and ``masks``.

    A mask has its image's name, with any suffix. Every grey value of the training masks is a class, in ascending order
    behind the background, which is 0. Images are stretched to squares.

    Raises:
        DataError: if a split has no image or no mask with a foreground, an image no mask of its size, a mask a grey
            value that no training mask has, or the training masks more than `MAX_CLASSES` of them.
    """
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    values, files = {}, hashlib.sha256()
    for name in SPLITS:
        folder = root / name
        images = sorted(path for path in (folder / "images").rglob("*") if is_image(path.name))
        if not images and (name != "val" or folder.exists()):
            raise DataError.at("images_missing", folder / "images", found="no image", expected="images to segment",
                               fix=f"masks=FOLDER needs {' and '.join(_LAYOUT)} below train and test")  # fmt: skip
        for path in images:
            picture, mask = read_pair(path, folder)
            splits[name].append(path.relative_to(root).as_posix())
            values[splits[name][-1]] = set(np.unique(mask).tolist())
            files.update(splits[name][-1].encode() + picture.tobytes() + mask.tobytes())
    levels = np.array(sorted({0}.union(*(values[image] for image in splits["train"]))))
    if len(levels) > MAX_CLASSES:
        raise DataError.at(
            "mask_value", root / "train" / "masks", found=f"{len(levels)} different grey values", field="mask",
            expected=f"at most {MAX_CLASSES}, one a class",
            fix="save masks without smooth edges and without loss (PNG, not JPEG)",
        )  # fmt: skip
    for name, names in splits.items():
        _check_values({root / image: values[image] for image in names}, root / name, levels.tolist())

    def load(image: str, side: int) -> Image:
        picture, mask = read_pair(root / image, root / image.split("/")[0])
        numbers = np.searchsorted(levels, mask).astype(np.uint8)
        labels = PIL.Image.fromarray(numbers).resize((side, side), PIL.Image.Resampling.NEAREST)
        pixels = picture.resize((side, side), PIL.Image.Resampling.BICUBIC)
        return np.dstack([np.asarray(pixels), np.asarray(labels)])

    classes = ["background", *(f"value {level}" for level in levels[1:])]
    return MaskedImages(classes, splits, files.hexdigest()[:16], KeptImages(load))


_LAYOUT = ("images/NAME.*", "masks/NAME.*")


def _check_values(values: Mapping[Path, set[float]], folder: Path, levels: list[float]) -> None:
    """Refuse grey values of a split that training lacks, and a split of background alone."""
    for image, found in values.items():
        if unknown := sorted(found.difference(levels)):
            raise DataError.at(
                "mask_value", image, found=unknown[0], field="mask",
                expected=f"one of {', '.join(map(str, levels))}, the grey values of the training masks",
                fix="give this class the same grey value in all splits, or move an image with it to train",
            )  # fmt: skip
    if values and set().union(*values.values()) == {0}:
        raise DataError.at("mask_empty", folder / "masks", found="only grey value 0, the background",
                           expected="masks with a foreground", fix="check how they were exported")  # fmt: skip
