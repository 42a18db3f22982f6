"""From an image file to the square RGB array that a vision tower sees.

Decode, apply EXIF rotation, resize the shorter side bicubically, crop the centre: the geometry of the Hugging Face CLIP
processor, in uint8. Normalisation happens in the model, on the device. Does not import torch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageOps

from medgraph.data.errors import DataError
from medgraph.data.paths import safe_relative
from medgraph.data.records import Image, Record

KEPT_BYTES = 2 << 30
"""Decoded images that stay in memory."""
MAX_PIXELS = 89_478_485
"""Largest accepted width times height: the size above which Pillow suspects a decompression bomb."""


@dataclass(frozen=True)
class ImageFolder:
    """Loads the images of a corpus from the folder they lie in; a corpus' ``load_image``.

    Attributes:
        root: the data root; ``Record.image`` is relative to it.
        records: consulted only when an image fails, to name subset and record in the error.
    """

    root: Path
    records: Sequence[Record] = ()

    def __call__(self, path: str, side: int) -> Image:
        """Load one image.

        Args:
            path: relative to the root.
            side: side length in pixels, at least 1.

        Returns:
            (side, side, 3) uint8 RGB.

        Raises:
            DataError: naming subset, record and path if the image is missing, unreadable or outside the root.
        """
        try:
            return fit(decode(self.root / safe_relative(path, self.root)), side)
        except DataError as error:
            raise DataError(f"{self._owner(path)}{error}", error.kind, error.file, path) from error
        except ValueError as error:
            raise DataError(f"{self._owner(path)}{path!r} is {error}; images must lie below {self.root}",
                            "path_refused", path) from error  # fmt: skip

    def _owner(self, path: str) -> str:
        record = next((record for record in self.records if record.image == path), None)
        return f"{record.subset}, record {record.id}: " if record else ""


def image_root(load_image: Callable[[str, int], Image]) -> Path | None:
    """Folder of the image files behind a corpus' ``load_image``; None for generated images."""
    return getattr(load_image, "root", None)


class KeptImages:
    """Decoded images in memory, as uint8; a corpus' ``load_image``.

    Args:
        load_image: the loader behind it.
        limit: bytes to keep; images beyond it are loaded again each time.
    """

    def __init__(self, load_image: Callable[[str, int], Image], limit: int = KEPT_BYTES) -> None:
        self.load_image, self.limit, self.root = load_image, limit, image_root(load_image)
        self._images: dict[tuple[str, int], Image] = {}
        self._bytes = 0

    def __call__(self, image: str, side: int) -> Image:
        """Load an image: (side, side, 3) uint8."""
        if (image, side) in self._images:
            return self._images[image, side]
        loaded = self.load_image(image, side)
        if self._bytes + loaded.nbytes <= self.limit:
            self._images[image, side] = loaded
            self._bytes += loaded.nbytes
        return loaded


def decode(path: Path, content: bytes | None = None) -> PIL.Image.Image:
    """Read an image file as upright 8-bit RGB.

    Palettes are resolved, transparency is laid on black, more than 8 bits are stretched linearly from the smallest to
    the largest value of the image, and of several frames the first is taken. See `medgraph.data.dicom` and
    `medgraph.data.nifti` for these formats.

    Raises:
        DataError: if the file is missing, empty, not an image, truncated or larger than `MAX_PIXELS`.
    """
    name = path.name.lower()
    if name.endswith((".dcm", ".dicom")):
        from medgraph.data.dicom import decode_dicom

        return decode_dicom(path)
    if name.endswith((".nii", ".nii.gz")):
        from medgraph.data.nifti import decode_nifti

        return decode_nifti(path)
    try:
        with PIL.Image.open(path if content is None else io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise too_large(path, f"{image.width} x {image.height} pixels")
            return _to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        fix = "restore it, or run `medgraph data check` to list all missing files"
        raise DataError.at("image_missing", path, found="no file", expected="an image", fix=fix) from error
    except DataError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise too_large(path, str(error)) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, EOFError, struct.error …
        size = len(content) if content is not None else path.stat().st_size if path.is_file() else 0
        kind = "image_empty" if size == 0 else "image_unreadable"
        found = f"{size} bytes ({type(error).__name__}: {error})" if size else "0 bytes"
        fix = "replace the file or drop the record"
        raise DataError.at(kind, path, found=found, expected="a complete image file", fix=fix) from error


def too_large(path: Path, found: str) -> DataError:
    """The error for an image above `MAX_PIXELS`, which may be a decompression bomb."""
    return DataError.at("image_too_large", path, found=found, expected=f"at most {MAX_PIXELS:,} pixels",
                        fix="downscale the file")  # fmt: skip


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return PIL.Image.fromarray(stretch(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image).convert("RGB")
    return image.convert("RGB")


def stretch(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Map a window of values linearly to 0..255.

    Args:
        values: array of any shape and number type; non-finite values become ``low``.
        low: value that becomes 0; None: the smallest finite value.
        high: value that becomes 255; None: the largest finite value.

    Returns:
        uint8 array of the same shape; zeros where the window is empty.

    Example:
        >>> stretch(np.array([0, 2048, 4095], dtype=np.uint16)).tolist()
        [0, 128, 255]
    """
    floats = values.astype(np.float64)
    finite = floats[np.isfinite(floats)]
    low = (finite.min() if finite.size else 0.0) if low is None else low
    high = (finite.max() if finite.size else 0.0) if high is None else high
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = (np.nan_to_num(floats, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def fit(image: PIL.Image.Image, side: int) -> Image:
    """Resize the shorter side to ``side`` (bicubic) and crop the centre.

    Args:
        image: RGB.
        side: side length in pixels, at least 1.

    Returns:
        (side, side, 3) uint8, equal to the Hugging Face CLIP processor before rescaling.

    Raises:
        ValueError: if ``side`` is smaller than 1.
    """
    if side < 1:
        raise ValueError(f"side={side}: expected at least 1 pixel")
    width, height = image.size
    short = min(width, height)
    size = (int(side * width / short), int(side * height / short))
    if size != image.size:
        image = image.resize(size, PIL.Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))
