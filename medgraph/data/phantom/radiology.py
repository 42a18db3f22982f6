"""Grey modalities: X-ray projection, CT slice, MRI slice and ultrasound.

Each takes a `Scene` and returns an (H, W) image in about [0, 1]. The tables give every tissue its signal, in the order
of `Tissue`; contrasts are those of textbooks, stretched where a finding would otherwise be invisible.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from medgraph.data.phantom.scene import Scene, pixel_centres
from medgraph.data.phantom.shapes import Map, length, texture

#                       air  lung   fat  musc. organ fibre  gel  fluid blood bone lesion calcium
ATTENUATION = np.array([0.0, 0.10, 0.32, 0.62, 0.76, 0.70, 0.62, 0.46, 0.84, 2.30, 1.35, 4.5], np.float32)
HOUNSFIELD = np.array([-1000, -450, -110, 45, 70, 30, 20, -35, 95, 700, 185, 1100], np.float32)
T1_MS = np.array([1000, 1100, 280, 900, 1100, 750, 2400, 3600, 1500, 600, 1500, 800], np.float32)
T2_MS = np.array([10, 25, 75, 45, 90, 62, 190, 700, 120, 8, 150, 5], np.float32)
PROTONS = np.array([0.0, 0.18, 0.6, 0.8, 0.85, 0.7, 0.9, 1.0, 0.85, 0.12, 0.95, 0.03], np.float32)
SCATTER = np.array([0.010, 0.13, 0.15, 0.09, 0.15, 0.28, 0.012, 0.005, 0.022, 0.8, 0.026, 1.6], np.float32)
US_LOSS = np.array([0.6, 0.75, 0.65, 0.6, 0.6, 0.65, 0.3, 0.05, 0.3, 2.0, 0.9, 9.0], np.float32)


def render_xray(scene: Scene) -> Map:
    """Line integrals of attenuation, quantum noise that grows with them, collimator and lead marker."""
    path = scene.anatomy(projected=True).signal(ATTENUATION)
    path += 0.035 * np.exp(np.minimum(path, 1.5)) * scene.noise()
    image = 1.06 * (1 - np.exp(-1.05 * np.clip(path, 0, None)))
    shutter = np.clip((0.97 - np.maximum(np.abs(scene.x), np.abs(scene.y))) / 0.04, 0, 1)
    corner_x, corner_y = (0.84 * scene.rng.choice((-1, 1), 2)).tolist()
    dx, dy = np.abs(scene.x - corner_x), np.abs(scene.y - corner_y)
    marker = (np.maximum(dx, dy) < 0.055) & (np.maximum(dx, dy * 2) > 0.022)
    return np.where(marker, 0.95, image * (0.25 + 0.75 * shutter))


def render_ct(scene: Scene) -> Map:
    """Hounsfield units of a thin slice, correlated noise, the table under the patient, display window."""
    units = scene.anatomy().signal(HOUNSFIELD)
    level, width = scene.rng.uniform(20, 50), scene.rng.uniform(460, 560)
    table = np.abs(length(scene.x, scene.y + 1.5) - 2.42) < 0.018
    units = np.where(table & (units < -500), -20, units)
    units += 11 * scene.noise() + 9 * scene.texture(40)
    return np.clip((units - (level - width / 2)) / width, 0, 1)


def render_mri(scene: Scene) -> Map:
    """Spin echo, T2-weighted, with a smooth coil bias, a phase ghost and Rician noise."""
    repetition, echo = scene.rng.uniform(2600, 3400), scene.rng.uniform(75, 95)
    table = PROTONS * (1 - np.exp(-repetition / T1_MS)) * np.exp(-echo / T2_MS)
    signal = scene.anatomy().signal(table.astype(np.float32) * 1.75)
    bias = np.exp(0.2 * scene.texture(3))
    signal = signal * bias + 0.035 * np.roll(signal, scene.side // 2, axis=0)
    signal = length(signal + 0.03 * scene.noise(), 0.03 * scene.noise())
    return np.tanh(signal * 1.25)


APEX = -1.3
"""Height of the convex probe's centre above the image, in half image sides."""
DEPTHS = (0.4, 2.25)
ANGLE = 0.7
"""Half opening angle of the fan in radians."""


@lru_cache(maxsize=8)
def _fan(side: int) -> tuple[Map, Map, npt.NDArray[np.intp], Map]:
    """Geometry of a convex probe and of the conversion from its beams to pixels.

    Returns:
        x and y of the (depth, beam) samples; for each pixel the flat indices of the four samples around it,
        (4, side, side); and their bilinear weights, (4, side, side), which are 0 outside the fan.
    """
    depth = np.linspace(*DEPTHS, side, dtype=np.float32)[:, None]
    angle = np.linspace(-ANGLE, ANGLE, side, dtype=np.float32)[None, :]
    x, y = pixel_centres(side)
    r, theta = length(x, y - APEX), np.arctan2(x, y - APEX)
    rows = (r - DEPTHS[0]) / (DEPTHS[1] - DEPTHS[0]) * (side - 1)
    columns = (theta + ANGLE) / (2 * ANGLE) * (side - 1)
    edge = np.minimum(np.minimum(rows, side - 1 - rows), np.minimum(columns, side - 1 - columns))
    row, column = (np.clip(np.floor(place), 0, side - 2) for place in (rows, columns))
    down, right = np.clip(rows - row, 0, 1), np.clip(columns - column, 0, 1)
    corner = (row * side + column).astype(np.intp)
    samples = np.stack([corner, corner + 1, corner + side, corner + side + 1])
    weights = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
    return depth * np.sin(angle), depth * np.cos(angle) + APEX, samples, weights * np.clip(edge + 1, 0, 1)


def render_ultrasound(scene: Scene) -> Map:
    """Echoes along the beams of a convex probe: speckle, interfaces, shadows, log compression, scan conversion."""
    x, y, samples, weights = _fan(scene.side)
    tissue = scene.anatomy(at=(x, y))
    scatter, loss = tissue.signal(np.stack([SCATTER, US_LOSS], axis=1))
    speckle = length(*(texture(scene.rng, (84, 64), x.shape) for _ in range(2))) * 0.8
    step = (DEPTHS[1] - DEPTHS[0]) / scene.side
    interface = np.abs(np.diff(scatter, axis=0, prepend=scatter[:1])) / step * 0.03
    travelled = np.arange(scene.side, dtype=np.float32)[:, None] * step
    beam = np.exp(0.5 * travelled - np.cumsum(loss, axis=0) * step)
    contact = 0.5 * np.exp(-travelled / 0.03)
    echo = (scatter * speckle + interface) * np.minimum(beam, 1.8) + contact
    echo += 0.004 * np.abs(scene.noise())
    image = np.clip(1 + np.log10(np.maximum(echo, 1e-3)) / 1.95, 0, 1.1)
    return (image.ravel()[samples] * weights).sum(axis=0)
