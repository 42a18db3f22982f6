"""Finding the same picture twice: equal files, and images that are equal up to size, encoding and brightness."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
from scipy.ndimage import uniform_filter

from medgraph.data.errors import DataError
from medgraph.data.images import decode
from medgraph.progress import track

Signature = npt.NDArray[np.float32]
"""(SIDE * SIDE,) float32 of mean 0 and norm 1; all zeros for an image of one colour."""

SIDE = 24
"""Pixels of a signature's side."""

NEAR = 0.94
"""Smallest absolute correlation of two signatures that counts as a near duplicate; docs/data.md says how it was set."""

_WINDOW, _FLOOR = 7, 0.02


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def equal_files(paths: Iterable[str], root: Path) -> list[tuple[str, ...]]:
    """Find files with equal content.

    Only files of equal size are read, so the cost for data without duplicates is little more than listing them.

    Args:
        paths: relative to ``root``; repetitions are ignored.
        root: the data root.

    Returns:
        Groups of at least two different paths with the same content, sorted.

    Raises:
        DataError: if a file is missing.
    """
    by_size: dict[int, list[str]] = {}
    for path in sorted(set(paths)):
        by_size.setdefault(_size(path, root), []).append(path)
    by_content: dict[str, list[str]] = {}
    for candidates in track(by_size.values(), "comparing files"):
        if len(candidates) > 1:
            for path in candidates:
                by_content.setdefault(file_digest(root / path), []).append(path)
    return sorted(tuple(group) for group in by_content.values() if len(group) > 1)


def _size(path: str, root: Path) -> int:
    try:
        return os.path.getsize(os.path.join(root, path))
    except OSError as error:
        raise DataError.at("image_missing", root / path, found=error.strerror, expected="an image",
                           fix="restore it; `medgraph data check` lists all missing files") from error  # fmt: skip


def signature(image: PIL.Image.Image) -> Signature:
    """What stays of an image after resizing, re-encoding, inversion and changes of brightness and contrast.

    The image is reduced to `SIDE` × `SIDE` grey levels (aspect ignored). Each pixel is centred and scaled by its
    neighbourhood, because otherwise the outline that all images of one kind share, such as the disc of a fundus
    photograph, would make any two of them alike.

    Args:
        image: any mode.
    """
    gray = np.asarray(image.convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.BOX), dtype=np.float64)
    gray = (gray - gray.mean()) / (gray.std() + 1e-6)
    detail = gray - uniform_filter(gray, _WINDOW, mode="nearest")
    energy = np.maximum(uniform_filter(detail * detail, _WINDOW, mode="nearest"), 0)
    local = detail / (np.sqrt(energy) + _FLOOR)
    local -= local.mean()
    norm = float(np.linalg.norm(local))
    return (local / norm if norm > 1e-3 else np.zeros_like(local)).astype(np.float32).ravel()


def signatures(paths: Sequence[str], root: Path) -> npt.NDArray[np.float32]:
    """Signatures of image files, (N, SIDE * SIDE) float32.

    Raises:
        DataError: for an unreadable image.
    """
    out = np.zeros((len(paths), SIDE * SIDE), np.float32)
    for i, path in enumerate(track(paths, "comparing appearance: reading images")):
        out[i] = signature(decode(root / path))
    return out


def near_pairs(
    found: npt.NDArray[np.float32], threshold: float = NEAR, block: int = 1024
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of near duplicates.

    The sign of the correlation is ignored, so an inverted image (a negative) is found too. All pairs are compared,
    block by block: N²·SIDE² multiplications and ``block``·N floats of memory.

    Args:
        found: (N, D) float32 signatures.
        threshold: smallest absolute correlation, in (0, 1].
        block: rows compared at a time.

    Yields:
        Index i, index j > i, absolute correlation.

    Raises:
        ValueError: if the threshold is outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}: expected a correlation in (0, 1]")
    for start in track(range(0, len(found), block), "comparing appearance: blocks of images"):
        rows = np.abs(found[start : start + block] @ found[start:].T)
        for i, j in np.argwhere(rows >= threshold):
            if j > i:
                yield start + int(i), start + int(j), float(rows[i, j])
