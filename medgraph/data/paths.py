"""From the image paths written in released files to the files on this disk.

Released paths are brittle: re-zipped archives change case, double a folder or move the root. `PathIndex` tries the path
as written first, then the same path with the known differences removed, then a file name that exists exactly once.
Paths that leave the data root are refused; a symbolic link the user put below the root is the user's decision and is
followed.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path, PurePosixPath

from medgraph.data.errors import DataError

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".dcm", ".dicom", ".nii", ".nii.gz")

_SPELLINGS = {"kindney": "kidney", "classificaion": "classification", "classificaiton": "classification"}
"""Misspellings that occur in some archives and are corrected in others."""


def is_image(name: str) -> bool:
    """True if a file name ends like an image that can be read.

    Example:
        >>> is_image("a/b.JPG"), is_image("brain.nii.gz"), is_image("table.csv.gz")
        (True, True, False)
    """
    return name.lower().endswith(_IMAGES)


def safe_relative(path: str, root: Path) -> str:
    """Make a path relative to the data root, or refuse it.

    Args:
        path: relative to ``root``, or absolute; back slashes are read as slashes.
        root: the data root.

    Returns:
        A normalised relative path with slashes. An absolute path that lies elsewhere is cut before its ``med-mat``
        folder (releases are written on other machines).

    Raises:
        ValueError: if the path is empty or would leave the root.

    Example:
        >>> safe_relative("/home/someone/med-mat/BUSI/a.png", Path("/data"))
        'med-mat/BUSI/a.png'
    """
    text = path.replace("\\", "/").strip()
    if re.match(r"^[A-Za-z]:/", text):
        text = text[2:]
    if text.startswith("/"):
        parts = PurePosixPath(text).parts
        inside = PurePosixPath(text).is_relative_to(root.absolute().as_posix())
        if inside:
            text = PurePosixPath(text).relative_to(root.absolute().as_posix()).as_posix()
        elif "med-mat" in parts:
            text = "/".join(parts[parts.index("med-mat") :])
        else:
            raise ValueError("an absolute path outside the data root")
    text = os.path.normpath(text).replace("\\", "/")
    if text == ".":
        raise ValueError("an empty path")
    if text.startswith(("../", "/")) or text == "..":
        raise ValueError("a path that leaves the data root")
    return text


def canonical(path: str) -> str:
    """Spell a path so that the known differences between archives vanish.

    Lower case, single blanks, corrected misspellings, ``_`` as blank, no folder directly inside one of the same name.

    Example:
        >>> canonical("med-mat/CT_Kindney_Dataset/CT_Kindney_Dataset/Cyst/Cyst-  (1).JPG")
        'med-mat/ct kidney dataset/cyst/cyst- (1).jpg'
    """
    kept: list[str] = []
    for part in path.lower().split("/"):
        part = " ".join(part.replace("_", " ").split())
        for wrong, right in _SPELLINGS.items():
            part = part.replace(wrong, right)
        if not kept or part != kept[-1]:
            kept.append(part)
    return "/".join(kept)


class PathIndex:
    """Finds the file that a released path means.

    Args:
        root: the data root; nothing outside it is ever returned.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, path: str) -> str | None:
        """Return the existing path relative to the root, or None if there is none or more than one candidate.

        Raises:
            ValueError: if the path would leave the root.
        """
        relative = safe_relative(path, self.root)
        if os.path.isfile(os.path.join(self.root, relative)):
            return relative
        spelled, named = self._tables
        for table, key in ((spelled, canonical(relative)), (named, canonical(relative).rpartition("/")[2])):
            candidates = table.get(key, ())
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                return None
        return None

    @cached_property
    def _tables(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Canonical path to files and canonical file name to files; built once, when a path is not found as written."""
        spelled: dict[str, list[str]] = {}
        named: dict[str, list[str]] = {}
        for folder, _, files in os.walk(self.root, followlinks=True):
            prefix = os.path.relpath(folder, self.root).replace("\\", "/")
            for name in files:
                if is_image(name):
                    relative = name if prefix == "." else f"{prefix}/{name}"
                    key = canonical(relative)
                    spelled.setdefault(key, []).append(relative)
                    named.setdefault(key.rpartition("/")[2], []).append(relative)
        return spelled, named


def refused(path: str, reason: ValueError, file: Path | str, record: object) -> DataError:
    """The error for a path that `safe_relative` refuses."""
    return DataError.at("path_refused", file, record=record, field="image", found=path,
                        expected=f"a path inside the data root, not {reason}",
                        fix="write image paths relative to data.root")  # fmt: skip
