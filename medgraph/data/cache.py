"""A file of decoded images: (N, side, side, 3) uint8, memory-mapped, shared by all processes of a machine.

The file's name is a hash of everything that decides its content, so a changed image, list or size is another file and a
stale one is never read. It is written under a temporary name and renamed when complete: a writer that is killed leaves
nothing that looks finished, and writers that race write the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from medgraph.config.errors import ConfigError
from medgraph.data.images import image_root
from medgraph.data.records import Corpus, Image
from medgraph.progress import track

VERSION = 1
"""Raised when the image pipeline changes its output."""

STALE_SECONDS = 24 * 3600
"""Age at which an unfinished file is taken to be left by a killed writer and is removed."""


class CachedImages:
    """Reads images of one side length from a cache, and everything else from where they come from.

    Args:
        load_image: the uncached loader.
        images: cached image paths, in the order of the file.
        side: cached side length in pixels.
        file: the cache file.
    """

    def __init__(self, load_image: Callable[[str, int], Image], images: Sequence[str], side: int, file: Path) -> None:
        self.load_image, self.side, self.file = load_image, side, file
        self.root = image_root(load_image)
        self.index = {image: i for i, image in enumerate(images)}
        self._map: np.memmap[Any, np.dtype[np.uint8]] | None = None

    def __call__(self, image: str, side: int) -> Image:
        """Load an image: (side, side, 3) uint8, a copy that the caller may change."""
        if side != self.side or image not in self.index:
            return self.load_image(image, side)
        if self._map is None:
            self._map = np.memmap(self.file, np.uint8, "r", shape=(len(self.index), side, side, 3))
        return np.array(self._map[self.index[image]])

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapping behind: a worker process opens its own."""
        return {**self.__dict__, "_map": None}


def cache_folder(text: str) -> Path:
    """The folder that ``data.cache`` names; ``auto`` is the user's cache folder."""
    if text == "auto":
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medgraph" / "images"
    return Path(text)


def cache_images(corpus: Corpus, side: int, folder: Path) -> Corpus:
    """Decode all images of a corpus once, or find that this was done before.

    Args:
        corpus: what is going to be loaded; its images are files.
        side: side length in pixels.
        folder: where cache files are kept; one takes 3·side² bytes an image.

    Returns:
        The corpus with a ``load_image`` that reads from the cache.

    Raises:
        DataError: for an image that cannot be read.
        ConfigError: if the images are not files.
    """
    root = image_root(corpus.load_image)
    if root is None:
        raise ConfigError(f"data.cache={folder}: the images of this data set are no files below one folder; leave "
                          "data.cache empty")  # fmt: skip
    images = sorted({record.image for records in corpus.splits.values() for record in records})
    file = folder / f"images-{side}px-{_key(images, root, side)}.u8"
    if not (file.is_file() and file.stat().st_size == len(images) * side * side * 3):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        _write(corpus.load_image, images, side, file)
    return dataclasses.replace(corpus, load_image=CachedImages(corpus.load_image, images, side, file))


def _key(images: Sequence[str], root: Path, side: int) -> str:
    """Hash of the pipeline's and Pillow's version, the side, and path, size and time of change of every image."""
    digest = hashlib.sha256(f"{VERSION} {PIL.__version__} {side}".encode())
    for image in images:
        status = (root / image).stat()
        digest.update(f"\n{image}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _write(load: Callable[[str, int], Image], images: Sequence[str], side: int, file: Path) -> None:
    part = file.with_name(f"{file.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as content:
            for image in track(images, "caching images"):
                content.write(load(image, side).tobytes())
            content.flush()
            os.fsync(content.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _remove_stale(folder: Path) -> None:
    for part in folder.glob("*.part"):
        with suppress(OSError):  # gone by now, or another user's
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink()
