"""DICOM files as 8-bit RGB pictures; needs pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from medgraph.data.errors import DataError
from medgraph.data.images import MAX_PIXELS, stretch, too_large


def decode_dicom(path: Path) -> PIL.Image.Image:
    """Show a DICOM file through its own window, or its whole range if it states none; of several frames the first.

    Raises:
        DataError: if pydicom is not installed, or the file is missing, incomplete or larger than `MAX_PIXELS`.
    """
    try:
        import pydicom
    except ImportError as error:
        raise DataError.at("dicom_unsupported", path, found="no pydicom", expected="pydicom to read DICOM files",
                           fix="pip install 'medgraph[medical]'") from error  # fmt: skip
    try:
        dataset = pydicom.dcmread(path)
        width, height = int(dataset.Columns), int(dataset.Rows)
        if width * height > MAX_PIXELS:
            raise too_large(path, f"{width} x {height} pixels")
        return PIL.Image.fromarray(_rgb(dataset))
    except DataError:
        raise
    except Exception as error:  # pydicom raises many types for broken files
        kind = "image_missing" if isinstance(error, FileNotFoundError) else "image_unreadable"
        raise DataError.at(kind, path, found=f"{type(error).__name__}: {error}", expected="a complete DICOM image",
                           fix="replace the file or drop the record") from error  # fmt: skip


def _rgb(dataset: Any) -> np.ndarray:
    """(H, W, 3) uint8."""
    from pydicom.pixels.processing import (
        apply_color_lut,
        apply_modality_lut,
        apply_voi_lut,
    )

    values = dataset.pixel_array
    values = values[0] if int(getattr(dataset, "NumberOfFrames", 1)) > 1 else values
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    if values.ndim == 3:
        return values if values.dtype == np.uint8 else (values >> 8 * (values.itemsize - 1)).astype(np.uint8)
    gray = stretch(apply_voi_lut(apply_modality_lut(values, dataset), dataset))
    return np.repeat((255 - gray if kind == "MONOCHROME1" else gray)[..., None], 3, axis=2)
