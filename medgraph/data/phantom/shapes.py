"""Analytic shapes on a pixel grid, and the tissue map they are painted into.

A shape is its normalised radius ``rho`` (0 at its core, 1 on its boundary) and the length that one unit of ``rho``
stands for. From that follow both views of it: ``coverage`` of a pixel by a thin slice, and the ``chord`` that a ray
through the body travels inside it. Lengths are in half image sides, so the same anatomy appears at every resolution.

Dimension letters: T tissues, H rows, W columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.floating[Any]]
"""Float32 array, (H, W) unless its docstring says otherwise."""


class Tissue(IntEnum):
    """What a pixel can consist of; each modality gives every tissue its own signal."""

    AIR = 0
    LUNG = 1
    FAT = 2
    MUSCLE = 3
    ORGAN = 4
    FIBRE = 5
    GEL = 6
    FLUID = 7
    BLOOD = 8
    BONE = 9
    LESION = 10
    CALCIUM = 11


def length(x: Map, y: Map) -> Map:
    """Euclidean length; several times faster than `numpy.hypot`, which guards against overflow."""
    return np.sqrt(x * x + y * y)


@dataclass(frozen=True, slots=True)
class Shape:
    """A region of the plane.

    Attributes:
        rho: (H, W) normalised radius, 1 on the boundary.
        radius: length of one unit of ``rho``, in half image sides.
    """

    rho: Map
    radius: float


@dataclass(frozen=True, slots=True)
class Grid:
    """Anatomical coordinates of every pixel.

    Attributes:
        x: (H, W) to the right, the body within ±1.
        y: (H, W) downwards.
        pixel: edge of a pixel in the same unit.
    """

    x: Map
    y: Map
    pixel: float

    def ellipse(self, cx: float, cy: float, a: float, b: float, angle: float = 0.0) -> Shape:
        """Ellipse with semi-axes ``a`` and ``b``, turned clockwise by ``angle`` radians."""
        dx, dy = self.x - cx, self.y - cy
        if angle:
            cos, sin = math.cos(angle), math.sin(angle)
            dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
        return Shape(length(dx * (1 / a), dy * (1 / b)), min(a, b))

    def capsule(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> Shape:
        """Straight bar with round ends."""
        ex, ey = (x1 - x0), (y1 - y0)
        dx, dy = self.x - x0, self.y - y0
        along: Map = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0, 1)
        return Shape(length(dx - along * ex, dy - along * ey) / radius, radius)

    def arc(self, cx: float, cy: float, radius: float, width: float) -> Shape:
        """Band of half-width ``width`` along a circle."""
        distance = np.abs(length(self.x - cx, self.y - cy) - radius)
        return Shape(distance / width, width)

    def lobed(self, shape: Shape, cx: float, cy: float, lobes: int, depth: float, phase: float) -> Shape:
        """Make the boundary of ``shape`` wavy, with ``lobes`` lobes of relative ``depth`` around (cx, cy)."""
        angle = np.arctan2(self.y - cy, self.x - cx)
        return Shape(shape.rho * (1 + depth * np.sin(lobes * angle + phase)), shape.radius)

    def coverage(self, shape: Shape) -> Map:
        """Share of each pixel inside the shape: (H, W) in [0, 1], anti-aliased."""
        return np.clip((1 - shape.rho) * (shape.radius / self.pixel) + 0.5, 0, 1)


def chord(shape: Shape) -> Map:
    """Relative length of a ray inside a rounded solid over the shape: (H, W) in [0, 1]."""
    return np.sqrt(np.clip(1 - np.square(np.square(shape.rho)), 0, 1))


class TissueMap:
    """Tissue fractions that shapes are painted into, from air; later shapes replace earlier ones.

    Args:
        grid: where the pixels are.
        projected: False for a slice, where a shape covers its pixels; True for a projection along depth, where a shape
            takes the share ``depth * chord`` of the ray and the rest shows through.

    Attributes:
        fractions: (T, H, W), sums to 1 over T.
    """

    def __init__(self, grid: Grid, *, projected: bool) -> None:
        self.grid = grid
        self.projected = projected
        self.fractions = np.zeros((len(Tissue), *grid.x.shape), np.float32)
        self.fractions[Tissue.AIR] = 1

    def paint(self, shape: Shape, tissue: Tissue, *, depth: float = 1.0, opacity: float = 1.0) -> None:
        """Paint a shape: ``depth`` is its extent along the ray (projections only), ``opacity`` the share replaced."""
        share = chord(shape) * depth if self.projected else self.grid.coverage(shape)
        self.blend(share * opacity, tissue)

    def blend(self, share: Map, tissue: Tissue) -> None:
        """Replace ``share`` (H, W) in [0, 1] of what is there by one tissue."""
        rows, columns = (np.flatnonzero(share.any(axis=axis)) for axis in (1, 0))
        if rows.size:
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            self.fractions[:, *box] *= 1 - share[box]
            self.fractions[tissue, *box] += share[box]

    def signal(self, values: Map) -> Map:
        """Mix per-tissue values, (T,) or (T, C), by the fractions: (H, W) or (C, H, W)."""
        return np.tensordot(values.T, self.fractions, axes=1)


@lru_cache(maxsize=32)
def _spline(cells: int, side: int) -> Map:
    """Cubic B-spline weights that interpolate ``cells`` samples at ``side`` pixel centres: (side, cells)."""
    position = (np.arange(side) + 0.5) / side * cells - 0.5
    distance = np.abs(position[:, None] - np.arange(cells)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def texture(rng: np.random.Generator, cells: tuple[int, int], shape: tuple[int, int]) -> Map:
    """Smooth Gaussian noise of unit variance whose grain is a share of the image, not a number of pixels.

    Args:
        rng: consumed by ``cells[0] * cells[1]`` normals, whatever the image size.
        cells: grains along rows and columns.
        shape: (H, W) of the result.
    """
    grains = rng.standard_normal(cells, dtype=np.float32)
    return _spline(cells[0], shape[0]) @ grains @ _spline(cells[1], shape[1]).T
