"""One phantom image in the making: its anatomy at the pixels a modality asks for, and its sources of randomness."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from medgraph.data.phantom import areas, findings
from medgraph.data.phantom.factors import Factors, Stream, generator
from medgraph.data.phantom.shapes import Grid, Map, TissueMap, texture


@lru_cache(maxsize=8)
def pixel_centres(side: int) -> tuple[Map, Map]:
    """Columns and rows of a square image as x and y in (-1, 1): two read-only (side, side) arrays."""
    line = ((np.arange(side, dtype=np.float32) + 0.5) * 2 / side - 1).astype(np.float32)
    y, x = (np.ascontiguousarray(part) for part in np.meshgrid(line, line, indexing="ij"))
    x.flags.writeable = y.flags.writeable = False
    return x, y


class Scene:
    """What a modality renders.

    Args:
        factors: see `Factors`.
        side: edge of the image in pixels.

    Attributes:
        x: (side, side) image coordinates to the right, in (-1, 1).
        y: (side, side) image coordinates downwards, in (-1, 1).
        pixel: edge of a pixel in the same unit.
        rng: the modality's, for what must look the same at every size; never draw arrays of pixel size from it.
    """

    def __init__(self, factors: Factors, side: int) -> None:
        self.factors = factors
        self.side = side
        self.x, self.y = pixel_centres(side)
        self.pixel = 2 / side
        self.rng = self._generator(Stream.MODALITY)
        self._sensor = self._generator(Stream.NOISE)

    def _generator(self, stream: Stream) -> np.random.Generator:
        return generator(self.factors.seed, self.factors.index, stream)

    def anatomy(self, *, projected: bool = False, at: tuple[Map, Map] | None = None) -> TissueMap:
        """Paint area and finding, posed and slightly warped.

        Args:
            projected: see `TissueMap`.
            at: (H, W) image coordinates x and y of the samples; the pixel centres by default.
        """
        x, y = at or (self.x, self.y)
        pose = self.factors.nuisance
        cos, sin = (math.cos(pose.rotation) / pose.scale), (math.sin(pose.rotation) / pose.scale)
        dx, dy = x - pose.shift_x, y - pose.shift_y
        rng = self._generator(Stream.ANATOMY)
        warp_x, warp_y = (0.018 * texture(rng, (5, 5), x.shape) for _ in range(2))
        grid = Grid(cos * dx + sin * dy + warp_x, cos * dy - sin * dx + warp_y, self.pixel)
        tissue = TissueMap(grid, projected=projected)
        areas.DRAW[self.factors.area](tissue, rng)
        rng = self._generator(Stream.FINDING)
        findings.DRAW[self.factors.finding](tissue, findings.Focus.place(self.factors, rng), rng)
        return tissue

    def texture(self, cells: int) -> Map:
        """Smooth unit-variance noise with ``cells`` grains along each axis: (side, side)."""
        return texture(self.rng, (cells, cells), (self.side, self.side))

    def noise(self) -> Map:
        """Pixel-wise normal noise, scaled by the image's noise factor: (side, side)."""
        noise = self._sensor.standard_normal((self.side, self.side), dtype=np.float32)
        return noise * self.factors.nuisance.noise
