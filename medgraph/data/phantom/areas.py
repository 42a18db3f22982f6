"""Anatomical areas: stylised layouts of tissues, the same latent anatomy for every modality.

Each layout fits into ±0.9, is painted from the skin inwards, and leaves room for a finding in every quadrant
(`SITES`). Structures that lie in front of or behind a slice (ribs) appear in projections only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from medgraph.data.phantom.shapes import Grid, Shape, Tissue, TissueMap

Draw = Callable[[TissueMap, np.random.Generator], None]


def _spread(rng: np.random.Generator, count: int, by: float = 0.06) -> list[float]:
    """Factors 1 ± ``by`` for sizes."""
    return rng.uniform(1 - by, 1 + by, count).tolist()


def _body(tissue: TissueMap, a: float, b: float, cy: float = 0.0, fat: float = 0.07) -> None:
    """Skin, a ring of fat of relative width ``fat``, and muscle inside."""
    tissue.paint(tissue.grid.ellipse(0, cy, a, b), Tissue.FAT, depth=0.9)
    tissue.paint(tissue.grid.ellipse(0, cy, a * (1 - fat), b * (1 - fat)), Tissue.MUSCLE, depth=0.95)


def _spine(tissue: TissueMap, top: float, bottom: float, count: int) -> None:
    """Vertebral bodies with discs between them."""
    step = (bottom - top) / count
    tissue.paint(tissue.grid.capsule(0, top, 0, bottom, 0.055), Tissue.FIBRE, depth=0.4)
    for i in range(count):
        y = top + (i + 0.5) * step
        tissue.paint(tissue.grid.ellipse(0, y, 0.085, 0.36 * step), Tissue.BONE, depth=0.55)


def _lung(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    wide, tall, heart = _spread(rng, 3)
    _body(tissue, 0.9, 0.84, cy=0.04)
    for sign in (-1, 1):
        tissue.paint(grid.ellipse(sign * 0.43, 0.0, 0.31 * wide, 0.62 * tall, sign * -0.14), Tissue.LUNG, depth=0.95)
        for x, y in ((0.62, -0.38), (0.66, -0.05), (0.58, 0.34), (0.4, -0.5)):
            tissue.paint(grid.capsule(sign * 0.16, -0.05, sign * x, y, 0.017), Tissue.BLOOD, depth=0.5, opacity=0.7)
    _spine(tissue, -0.78, 0.84, 8)
    tissue.paint(grid.ellipse(0.0, -0.18, 0.13, 0.5), Tissue.ORGAN, depth=0.5, opacity=0.75)
    tissue.paint(grid.ellipse(0.08, 0.3, 0.26 * heart, 0.25 * heart, 0.5), Tissue.BLOOD, depth=0.8)
    _ribs(tissue)


def _ribs(tissue: TissueMap) -> None:
    grid = tissue.grid
    wall = grid.coverage(grid.ellipse(0, 0.02, 0.8, 0.78))
    for y in (-0.5, -0.26, -0.02, 0.22, 0.46):
        if tissue.projected:
            share = np.clip(1 - grid.arc(0, y + 0.62, 0.9, 0.05).rho, 0, 1) * (grid.y < y + 0.5)
            tissue.blend(share * wall * 0.3, Tissue.BONE)
        else:
            x = 0.79 * math.sqrt(1 - (y / 0.8) ** 2)
            for sign in (-1, 1):
                tissue.paint(grid.ellipse(sign * x, y, 0.035, 0.05), Tissue.BONE)


def _brain(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    wide, tall, horn = _spread(rng, 3)
    a, b = 0.72 * wide, 0.86 * tall
    tissue.paint(grid.ellipse(0, 0, a, b), Tissue.FAT, depth=0.9)
    tissue.paint(grid.ellipse(0, 0, a * 0.95, b * 0.96), Tissue.BONE, depth=0.9)
    tissue.paint(grid.ellipse(0, 0, a * 0.86, b * 0.88), Tissue.FLUID, depth=0.93)
    phase = rng.uniform(0, 6)
    tissue.paint(grid.lobed(grid.ellipse(0, 0, a * 0.82, b * 0.84), 0, 0, 22, 0.035, phase), Tissue.ORGAN)
    white = grid.lobed(grid.ellipse(0, 0, a * 0.68, b * 0.72), 0, 0, 11, 0.11, phase)
    tissue.paint(white, Tissue.FIBRE, depth=0.7)
    tissue.paint(grid.capsule(0, -b * 0.82, 0, -0.26, 0.014), Tissue.FLUID, depth=0.5)
    tissue.paint(grid.capsule(0, 0.32, 0, b * 0.82, 0.014), Tissue.FLUID, depth=0.5)
    for sign in (-1, 1):
        tissue.paint(grid.ellipse(sign * 0.13, 0.05, 0.09, 0.14, sign * 0.3), Tissue.ORGAN, depth=0.4)
        tissue.paint(grid.ellipse(sign * 0.09 * horn, -0.17, 0.055, 0.17, sign * -0.4), Tissue.FLUID, depth=0.6)
        tissue.paint(grid.ellipse(sign * 0.13 * horn, 0.24, 0.05, 0.14, sign * 0.5), Tissue.FLUID, depth=0.6)


def _kidney(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    wide, tall, tilt = _spread(rng, 3, 0.08)
    _body(tissue, 0.9, 0.82, fat=0.12)
    tissue.paint(grid.ellipse(0, -0.05, 0.72, 0.66), Tissue.FAT, depth=0.5, opacity=0.5)
    _spine(tissue, -0.76, 0.76, 6)
    tissue.paint(grid.capsule(0.13, -0.7, 0.13, 0.45, 0.05), Tissue.BLOOD, depth=0.5)
    for sign in (-1, 1):
        angle, x = sign * 0.2 * tilt, sign * 0.46
        tissue.paint(grid.ellipse(x, 0, 0.27 * wide, 0.47 * tall, angle), Tissue.FAT, depth=0.5)
        tissue.paint(grid.ellipse(x, 0, 0.24 * wide, 0.43 * tall, angle), Tissue.ORGAN, depth=0.8)
        for y in (-0.27, -0.1, 0.1, 0.27):
            outwards = grid.ellipse(x + sign * (0.07 - abs(y) * 0.2), y, 0.1, 0.055, sign * y * 2)
            tissue.paint(outwards, Tissue.FIBRE, depth=0.4)
        tissue.paint(grid.ellipse(x - sign * 0.17, 0, 0.12, 0.13), Tissue.FAT, depth=0.7)
        tissue.paint(grid.ellipse(x - sign * 0.1, 0, 0.07, 0.16), Tissue.FLUID, depth=0.6)
        tissue.paint(grid.capsule(x - sign * 0.14, 0.05, sign * 0.19, 0.66, 0.018), Tissue.FLUID, depth=0.4)


def _heart(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    wide, tall, wall = _spread(rng, 3)
    _body(tissue, 0.9, 0.84)
    for sign in (-1, 1):
        tissue.paint(grid.ellipse(sign * 0.5, 0, 0.34, 0.66, sign * 0.1), Tissue.LUNG, depth=0.9)
    tissue.paint(grid.ellipse(0, 0.03, 0.6 * wide, 0.68 * tall), Tissue.FAT, depth=0.85)
    tissue.paint(grid.ellipse(0, 0.03, 0.56 * wide, 0.64 * tall), Tissue.MUSCLE, depth=0.95)
    inner = 0.92 / wall
    for sign in (-1, 1):
        atrium = grid.ellipse(sign * 0.26, -0.27, 0.2 * inner, 0.2 * inner, sign * 0.5)
        ventricle = grid.ellipse(sign * 0.24, 0.24, 0.19 * inner, 0.3 * inner, sign * 0.25)
        tissue.paint(atrium, Tissue.BLOOD, depth=0.8)
        tissue.paint(ventricle, Tissue.BLOOD, depth=0.8)
        tissue.paint(grid.capsule(sign * 0.12, -0.02, sign * 0.34, -0.04, 0.02), Tissue.FIBRE, depth=0.4)
    tissue.paint(grid.ellipse(0.0, -0.72, 0.13, 0.12), Tissue.FIBRE, depth=0.6)
    tissue.paint(grid.ellipse(0.0, -0.72, 0.1, 0.09), Tissue.BLOOD, depth=0.6)


def _breast(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    wide, gland, fan = _spread(rng, 3)
    tissue.paint(_below(grid.ellipse(0, -0.82, 0.82 * wide, 1.5), grid, -0.82), Tissue.MUSCLE)
    tissue.paint(_below(grid.ellipse(0, -0.82, 0.78 * wide, 1.45), grid, -0.82), Tissue.FAT)
    tissue.paint(grid.ellipse(0, 0.69, 0.09, 0.06), Tissue.MUSCLE, depth=0.6)
    tissue.paint(_below(grid.ellipse(0, -0.98, 0.8, 0.42), grid, -0.82), Tissue.MUSCLE, depth=0.8)
    phase = rng.uniform(0, 6)
    lobules = grid.lobed(grid.ellipse(0, 0.02, 0.46 * gland, 0.52 * gland), 0, 0, 5, 0.08, phase)
    lobules = grid.lobed(lobules, 0, 0, 13, 0.05, 2 * phase)
    tissue.paint(lobules, Tissue.ORGAN, depth=0.7, opacity=0.75)
    for x in (-0.4, -0.25, -0.09, 0.09, 0.25, 0.4):
        tissue.paint(grid.capsule(0, 0.62, x * fan, -0.3 + abs(x) * 0.6, 0.02), Tissue.FIBRE, depth=0.5)


def _below(shape: Shape, grid: Grid, y: float) -> Shape:
    """The part of a shape under a horizontal line."""
    return Shape(np.maximum(shape.rho, 1 + (y - grid.y) / shape.radius), shape.radius)


def _eye(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    wide, tall, lens = _spread(rng, 3)
    tissue.paint(grid.ellipse(0, 0.03, 0.9, 0.84), Tissue.BONE, depth=0.8)
    tissue.paint(grid.ellipse(0, 0.0, 0.83, 0.78), Tissue.FAT, depth=0.9)
    for sign in (-1, 1):
        tissue.paint(grid.capsule(sign * 0.68, -0.05, sign * 0.2, 0.74, 0.055), Tissue.MUSCLE, depth=0.6)
    tissue.paint(grid.capsule(0, 0.45, 0.06, 0.9, 0.07), Tissue.FIBRE, depth=0.6)
    tissue.paint(grid.ellipse(0, -0.44, 0.3, 0.26), Tissue.FLUID, depth=0.7)
    tissue.paint(grid.ellipse(0, -0.03, 0.6 * wide, 0.59 * tall), Tissue.FIBRE, depth=0.9)
    tissue.paint(grid.ellipse(0, -0.03, 0.565 * wide, 0.555 * tall), Tissue.BLOOD, depth=0.9)
    tissue.paint(grid.ellipse(0, -0.03, 0.53 * wide, 0.52 * tall), Tissue.GEL, depth=0.95)
    tissue.paint(grid.ellipse(0, -0.5, 0.25 * lens, 0.12 * lens), Tissue.ORGAN, depth=0.8)


def _forearm(tissue: TissueMap, rng: np.random.Generator) -> None:
    grid = tissue.grid
    thick, ulna, radius = _spread(rng, 3, 0.08)
    tissue.paint(grid.capsule(0, -1.4, 0, 1.4, 0.6 * thick), Tissue.FAT, depth=0.9)
    tissue.paint(grid.capsule(0, -1.4, 0, 1.4, 0.54 * thick), Tissue.MUSCLE, depth=0.95)
    for sign, width in ((-1, ulna), (1, radius)):
        x, shaft = sign * 0.26, 0.13 * width
        tissue.paint(grid.capsule(x, -0.78, x, 0.78, shaft), Tissue.BONE, depth=0.8)
        tissue.paint(grid.ellipse(x, sign * 0.76, 0.19, 0.2), Tissue.BONE, depth=0.8)
        tissue.paint(grid.capsule(x, -0.74, x, 0.74, shaft * 0.55), Tissue.FAT, depth=0.6, opacity=0.8)
        tissue.paint(grid.ellipse(x, sign * 0.76, 0.14, 0.15), Tissue.FAT, depth=0.5, opacity=0.5)


DRAW: Mapping[str, Draw] = {
    "lung": _lung,
    "brain": _brain,
    "kidney": _kidney,
    "heart": _heart,
    "breast": _breast,
    "eye": _eye,
    "forearm": _forearm,
}

SITES: Mapping[str, tuple[float, float]] = {
    "lung": (0.43, 0.3),
    "brain": (0.31, 0.36),
    "kidney": (0.47, 0.26),
    "heart": (0.27, 0.27),
    "breast": (0.27, 0.26),
    "eye": (0.27, 0.26),
    "forearm": (0.26, 0.36),
}
"""Where a finding of the right lower quadrant sits; the other quadrants mirror it."""
