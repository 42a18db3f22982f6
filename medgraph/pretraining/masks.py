"""Images with masks: phantoms and the regions of their findings, or a folder of pairs.

Does not import torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from medgraph.config import ConfigError, PhantomConfig
from medgraph.data.errors import DataError
from medgraph.data.paths import is_image
from medgraph.data.records import Image

Mask = npt.NDArray[np.uint8]
KEPT = 2048
"""Images that stay in memory with their masks."""


@dataclass(frozen=True, slots=True)
class MaskedImages:
    """A data set for segmentation.

    Attributes:
        classes: names, the background first.
        splits: ``train`` and ``test``: names of images.
        fingerprint: of images and masks.
        load: makes the image (S, S, 3) uint8 and the mask (S, S) uint8, the number of a class, of a name and a side S.
    """

    classes: Sequence[str]
    splits: Mapping[str, Sequence[str]]
    fingerprint: str
    load: Callable[[str, int], tuple[Image, Mask]]


def masked_images(data: Any, masks: str) -> MaskedImages:
    """Choose the source: a folder of pairs if ``masks`` names one, else the phantoms of ``data``.

    Raises:
        ConfigError: if neither has masks.
        DataError: if the folder lacks images or masks.
    """
    if masks:
        return read_pairs(Path(masks))
    if isinstance(data, PhantomConfig):
        return masked_phantoms(data)
    raise ConfigError("task=segmentation: this data has no masks; give masks=FOLDER, or data=phantom")


def masked_phantoms(config: PhantomConfig) -> MaskedImages:
    """Phantoms with the mask of their finding; normal images are background only."""
    from medgraph.data.phantom.corpus import build_phantom
    from medgraph.data.phantom.factors import FactorSpace
    from medgraph.data.phantom.masks import finding_mask
    from medgraph.data.phantom.render import render

    corpus, space = build_phantom(config), FactorSpace(config)
    splits = {name: list(dict.fromkeys(r.image for r in corpus.splits[name])) for name in ("train", "test")}
    findings = sorted({space.draw(int(image)).finding for images in splits.values() for image in images} - {"normal"})
    classes = ["background", *findings]

    @lru_cache(KEPT)
    def load(image: str, side: int) -> tuple[Image, Mask]:
        factors = space.appearance(space.draw(int(image)))
        number = classes.index(factors.finding) if factors.finding in classes else 0
        return render(factors, side), finding_mask(factors, side).astype(np.uint8) * np.uint8(number)

    return MaskedImages(classes, splits, corpus.fingerprint(), load)


def read_pairs(root: Path) -> MaskedImages:
    """Read ``train`` and ``test`` below a folder, each with ``images/NAME.*`` and ``masks/NAME.png``.

    The grey value of a mask is the number of a class, 0 the background. Images are stretched to squares.

    Raises:
        DataError: if a split has no image, or an image no mask.
    """
    splits, classes, files = {}, 1, hashlib.sha256()
    for name in ("train", "test"):
        images = sorted(file for file in (root / name / "images").glob("*") if is_image(file.name))
        if not images:
            raise DataError(f"{root / name / 'images'}: no images")
        for image in images:
            mask = _mask_of(image)
            if not mask.exists():
                raise DataError(f"{image}: has no mask {mask}")
            files.update(image.read_bytes() + mask.read_bytes())
            classes = max(classes, 1 + int(np.asarray(PIL.Image.open(mask).convert("L")).max()))
        splits[name] = [str(image) for image in images]

    @lru_cache(KEPT)
    def load(image: str, side: int) -> tuple[Image, Mask]:
        with PIL.Image.open(image) as picture, PIL.Image.open(_mask_of(Path(image))) as mask:
            pixels = picture.convert("RGB").resize((side, side), PIL.Image.Resampling.BICUBIC)
            labels = mask.convert("L").resize((side, side), PIL.Image.Resampling.NEAREST)
            return np.array(pixels), np.array(labels)

    names = ["background", *(f"class {number}" for number in range(1, classes))]
    return MaskedImages(names, splits, files.hexdigest()[:16], load)


def _mask_of(image: Path) -> Path:
    return image.parent.parent / "masks" / f"{image.stem}.png"
