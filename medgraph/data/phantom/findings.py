"""Findings: what is painted into an anatomy, where, how large and how conspicuous.

Size sets the radius. Severity sets how much tissue most findings replace, and what a reader could count or measure: the
halo of a mass, the wall of a cyst, the number of calcifications, the gap of a fracture, the level of an effusion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from medgraph.data.phantom.areas import SITES
from medgraph.data.phantom.factors import SEVERITIES, Factors
from medgraph.data.phantom.shapes import Shape, Tissue, TissueMap

RADIUS = {"small": 0.16, "large": 0.28}
OPACITY = {"mild": 0.65, "moderate": 0.82, "severe": 1.0}


@dataclass(frozen=True, slots=True)
class Focus:
    """Centre, radius (half image sides), opacity in (0, 1] and grade 0, 1, 2 of one finding."""

    x: float
    y: float
    radius: float
    opacity: float
    grade: int

    @classmethod
    def place(cls, factors: Factors, rng: np.random.Generator) -> Focus:
        """Put the finding into its quadrant, with some scatter."""
        x, y = SITES[factors.area]
        jitter_x, jitter_y, scale = rng.uniform(-1, 1, 3).tolist()
        return cls(
            x=(x if factors.side == "right" else -x) + 0.045 * jitter_x,
            y=(y if factors.level == "lower" else -y) + 0.045 * jitter_y,
            radius=RADIUS[factors.size] * (1 + 0.08 * scale),
            opacity=OPACITY[factors.severity],
            grade=SEVERITIES.index(factors.severity),
        )


def _normal(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Nothing."""


def _mass(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Irregular solid lesion in a halo of oedema that widens with severity."""
    grid = tissue.grid
    phase, ripple = rng.uniform(0, 6, 2).tolist()
    shape = grid.ellipse(focus.x, focus.y, focus.radius, focus.radius * 0.9, phase)
    halo = np.clip(1.2 + 0.4 * focus.grade - shape.rho, 0, 0.4)
    tissue.blend(halo, Tissue.FLUID)
    shape = grid.lobed(shape, focus.x, focus.y, 5, 0.13, phase)
    shape = grid.lobed(shape, focus.x, focus.y, 8, 0.09, ripple)
    tissue.paint(shape, Tissue.LESION, opacity=focus.opacity)


def _cyst(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Round, sharp and filled with fluid, behind a wall that thickens with severity."""
    grid = tissue.grid
    tissue.paint(grid.ellipse(focus.x, focus.y, focus.radius, focus.radius), Tissue.FIBRE, opacity=focus.opacity)
    inner = focus.radius * (0.88 - 0.12 * focus.grade)
    tissue.paint(grid.ellipse(focus.x, focus.y, inner, inner), Tissue.FLUID, opacity=focus.opacity)


def _calcification(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Cluster of dense specks in a scar, more of them with severity."""
    count = 3 + 3 * focus.grade
    scatter_angle, scatter_reach, size = rng.uniform(-1, 1, (3, 10))[:, :count]
    angle = np.arange(count) * 2.4 + 0.7 * scatter_angle + rng.uniform(0, 6)
    reach = focus.radius * (np.sqrt((np.arange(count) + 0.5) / count) + 0.15 * scatter_reach)
    speck = (0.028 + 0.05 * focus.radius) * (1 + 0.3 * size)
    scar = tissue.grid.ellipse(focus.x, focus.y, 1.2 * focus.radius, 1.2 * focus.radius)
    tissue.blend(np.clip(1.5 - 1.5 * scar.rho, 0, 0.5), Tissue.FIBRE)
    places = np.stack([focus.x + reach * np.cos(angle), focus.y + reach * np.sin(angle), speck], axis=1)
    for x, y, radius in places.tolist():
        tissue.paint(tissue.grid.ellipse(x, y, radius, radius), Tissue.CALCIUM)


def _fracture(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Jagged dark gap between dense edges; the gap opens with severity."""
    grid, reach = tissue.grid, 1.5 * focus.radius
    tilt = rng.uniform(-0.5, 0.5)
    knots = [(-1.0, 0.0), (-0.3, 0.3), (0.25, -0.25), (1.0, 0.1)]
    cos, sin = math.cos(tilt) * reach, math.sin(tilt) * reach
    points = [(focus.x + cos * u - sin * v, focus.y + sin * u + cos * v) for u, v in knots]
    gap = 0.018 + 0.01 * focus.grade
    parts = [grid.capsule(*start, *end, gap) for start, end in pairwise(points)]
    line = Shape(np.minimum.reduce([part.rho for part in parts]), gap)
    tissue.blend(np.clip(2 - line.rho / 3, 0, 1) * (0.4 * focus.opacity), Tissue.FLUID)
    tissue.blend(np.clip(2.6 - line.rho, 0, 1) * (0.5 * focus.opacity), Tissue.BONE)
    tissue.blend(grid.coverage(line), Tissue.AIR)


def _effusion(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Fluid that collects under a flat level; the level rises with severity."""
    grid, radius = tissue.grid, focus.radius
    pool = grid.ellipse(focus.x, focus.y, 1.5 * radius, 1.15 * radius)
    level = focus.y + radius * (0.35 - 0.4 * focus.grade)
    above = 1 + (level - grid.y) / pool.radius
    tissue.paint(Shape(np.maximum(pool.rho, above), pool.radius), Tissue.FLUID, opacity=0.9)


def _opacity(tissue: TissueMap, focus: Focus, rng: np.random.Generator) -> None:
    """Patchy cloud without a border."""
    grid, radius = tissue.grid, focus.radius
    share = np.zeros_like(grid.x)
    for x, y, scale in (rng.uniform(-1, 1, (4, 3)) * (0.8, 0.6, 0.25)).tolist():
        puff = grid.ellipse(focus.x + radius * x, focus.y + radius * y, radius, 0.8 * radius)
        share = np.maximum(share, np.exp(-np.square(puff.rho / (1 + scale))))
    tissue.blend(share * (0.85 * focus.opacity), Tissue.LESION)


DRAW: Mapping[str, Callable[[TissueMap, Focus, np.random.Generator], None]] = {
    "normal": _normal,
    "mass": _mass,
    "cyst": _cyst,
    "calcification": _calcification,
    "fracture": _fracture,
    "effusion": _effusion,
    "opacity": _opacity,
}
