"""Slices of NIfTI volumes as 8-bit RGB pictures; needs nibabel.

A record shows one picture, so a volume stands for its middle slice; `extract_slices` writes the slices of a volume as
files of their own, to be listed with the volume as their group.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image

from medgraph.data.errors import DataError
from medgraph.data.images import MAX_PIXELS, stretch, too_large

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""Planes by the axis that they are perpendicular to: right, anterior, superior."""

CLIPPED = 0.5
"""Percent of the values at either end that are clipped where no window is given."""


def decode_nifti(path: Path) -> PIL.Image.Image:
    """The middle slice of a volume, across its coarsest axis (axial if all are equal).

    Raises:
        DataError: as `extract_slices`.
    """
    volume = _open(path)
    plane = _own_plane(volume)
    return _picture(path, volume, plane, _size(volume, plane) // 2, None)


def extract_slices(
    path: Path,
    folder: Path,
    plane: Plane | None = None,
    every: int = 1,
    window: tuple[float, float] | None = None,
) -> list[Path]:
    """Write slices of a volume as PNG files.

    Rows and columns are turned as radiologists look at them: anterior (axial) or superior (others) on top, the right
    of the patient (axial, coronal) or anterior (sagittal) on the left, whatever the order of the file. Of a series of
    volumes the first is taken.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        folder: where to write ``<name>-<plane>-<number>.png``; made if it does not exist.
        plane: None: across the coarsest axis.
        every: step between slices.
        window: centre and width of the values to show, such as (40, 400) Hounsfield units for soft tissue; None: all
            but half a percent at either end, slice by slice.

    Returns:
        The files, in order.

    Raises:
        DataError: if nibabel is not installed, or the file is missing, incomplete, no volume of numbers, or a slice is
            larger than `MAX_PIXELS`.
        ValueError: for a plane, step or window out of range.
    """
    if plane not in (None, *PLANES) or every < 1 or (window and window[1] <= 0):
        raise ValueError(f"plane={plane}, every={every}, window={window}: expected one of {', '.join(PLANES)}, a step "
                         "of at least 1 and (centre, width above 0)")  # fmt: skip
    volume = _open(path)
    plane = plane or _own_plane(volume)
    folder.mkdir(parents=True, exist_ok=True)
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    files = []
    for number in range(0, _size(volume, plane), every):
        files.append(folder / f"{stem}-{plane}-{number:04d}.png")
        _picture(path, volume, plane, number, window).save(files[-1])
    return files


def _open(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise DataError.at("nifti_unsupported", path, found="no nibabel", expected="nibabel to read NIfTI files",
                           fix="pip install 'medgraph[medical]'") from error  # fmt: skip
    try:
        volume: Any = nibabel.load(path)
    except Exception as error:  # nibabel raises many types for broken files
        raise _unreadable(path, error) from error
    shape, kind = volume.shape, volume.get_data_dtype()
    if len(shape) < 3 or 0 in shape or kind.fields:
        raise DataError.at("image_unreadable", path, found=f"shape {shape} of {kind}",
                           expected="a volume of numbers with at least three dimensions",
                           fix="convert the file or drop the record")  # fmt: skip
    return volume


def _own_plane(volume: Any) -> Plane:
    """Plane across the axis with one slice, else with the largest spacing, else the last."""
    spacing = np.zeros(3)
    for axis, plane in enumerate(PLANES):
        source = _source_axis(volume, plane)
        spacing[axis] = np.inf if volume.shape[source] == 1 else round(float(volume.header.get_zooms()[source]), 3)
    return PLANES[2 - int(np.argmax(spacing[::-1]))]


def _source_axis(volume: Any, plane: Plane) -> int:
    """Axis of the file that runs across a plane."""
    return int(np.flatnonzero(_orientation(volume)[:, 0] == PLANES.index(plane))[0])


def _orientation(volume: Any) -> np.ndarray:
    """(3, 2): for each axis of the file the anatomical axis and its direction; the file's own order if unknown."""
    from nibabel.orientations import io_orientation

    found = io_orientation(volume.affine)
    return found if np.isfinite(found).all() else np.array([[0, 1], [1, 1], [2, 1]])


def _size(volume: Any, plane: Plane) -> int:
    return int(volume.shape[_source_axis(volume, plane)])


def _picture(path: Path, volume: Any, plane: Plane, number: int, window: tuple[float, float] | None) -> PIL.Image.Image:
    orientation, across = _orientation(volume), _source_axis(volume, plane)
    inside = [axis for axis in range(3) if axis != across]
    if np.prod([volume.shape[axis] for axis in inside]) > MAX_PIXELS:
        raise too_large(path, f"slices of shape {[volume.shape[axis] for axis in inside]}")
    position: list[Any] = [slice(None)] * 3 + [0] * (len(volume.shape) - 3)
    position[across] = number if orientation[across, 1] > 0 else volume.shape[across] - 1 - number
    try:
        values = np.asarray(volume.dataobj[tuple(position)])
    except Exception as error:  # truncated files are noticed here
        raise _unreadable(path, error) from error
    values = np.flip(values, tuple(i for i, axis in enumerate(inside) if orientation[axis, 1] < 0))
    if orientation[inside[0], 0] > orientation[inside[1], 0]:
        values = values.T
    finite = values[np.isfinite(values)]
    if window:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    else:
        low, high = np.percentile(finite, [CLIPPED, 100 - CLIPPED]) if finite.size else (0.0, 0.0)
    return PIL.Image.fromarray(stretch(values.T[::-1, ::-1], low, high)).convert("RGB")


def _unreadable(path: Path, error: Exception) -> DataError:
    kind = "image_missing" if isinstance(error, FileNotFoundError) else "image_unreadable"
    return DataError.at(kind, path, found=f"{type(error).__name__}: {error}", expected="a complete NIfTI volume",
                        fix="replace the file or drop the record")  # fmt: skip
