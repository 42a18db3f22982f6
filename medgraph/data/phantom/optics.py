"""Colour modalities: fundus photograph, dermoscopy and histology.

Each takes a `Scene` and returns an (H, W, 3) image in about [0, 1]. Tissues are given colours (or stain uptake) so that
the anatomical layouts can be seen; no camera would ever show a kidney on a retina.
"""

from __future__ import annotations

import math

import numpy as np

from medgraph.data.phantom.scene import Scene
from medgraph.data.phantom.shapes import Map, Tissue, length

RETINA = np.array(
    [
        [0.80, 0.36, 0.14],  # air: bare fundus
        [0.64, 0.25, 0.09],  # lung
        [0.92, 0.52, 0.22],  # fat
        [0.72, 0.30, 0.12],  # muscle
        [0.84, 0.44, 0.20],  # organ
        [0.90, 0.56, 0.30],  # fibre
        [0.66, 0.27, 0.13],  # gel
        [0.50, 0.24, 0.16],  # fluid
        [0.52, 0.13, 0.07],  # blood
        [0.98, 0.72, 0.40],  # bone
        [0.34, 0.13, 0.12],  # lesion
        [1.00, 0.95, 0.62],  # calcium: hard exudates
    ],
    np.float32,
)
SKIN = np.array(
    [
        [0.88, 0.68, 0.57],  # air: bare skin
        [0.70, 0.46, 0.35],  # lung
        [0.82, 0.58, 0.45],  # fat
        [0.66, 0.42, 0.31],  # muscle
        [0.56, 0.34, 0.24],  # organ
        [0.74, 0.50, 0.40],  # fibre
        [0.80, 0.55, 0.47],  # gel
        [0.90, 0.72, 0.68],  # fluid
        [0.70, 0.26, 0.24],  # blood
        [0.42, 0.25, 0.17],  # bone
        [0.24, 0.22, 0.30],  # lesion: blue-black
        [0.98, 0.93, 0.86],  # calcium: milia
    ],
    np.float32,
)
#                      air   lung  fat   musc. organ fibre gel   fluid blood bone  lesion calcium
EOSIN = np.array([0.03, 0.22, 0.16, 0.70, 0.52, 0.85, 0.22, 0.14, 1.30, 1.15, 0.55, 0.4], np.float32)
CELLS = np.array([0.0, 0.35, 0.10, 0.45, 0.85, 0.30, 0.12, 0.04, 0.06, 0.12, 1.0, 0.2], np.float32)
HAEMATOXYLIN = np.array([0.0, 0.03, 0.02, 0.06, 0.18, 0.05, 0.05, 0.03, 0.03, 0.12, 0.42, 2.2], np.float32)
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], np.float32)
"""Absorbance of haematoxylin and eosin in red, green and blue (Ruifrok and Johnston 2001)."""


VESSELS = (
    (0.62, 0.034, 1.75, -1),
    (0.85, 0.030, 1.60, -1),
    (1.40, 0.020, 1.30, -1),
    (0.40, 0.018, 0.90, -1),
    (0.45, 0.024, 0.70, 1),
    (0.90, 0.020, 0.90, 1),
)
"""Bend, half width at the optic disc, length, and direction (-1 towards the macula) of the vessels above and below."""


def render_fundus(scene: Scene) -> Map:
    """Retina in a round aperture: choroidal mottle, optic disc, vessel arcades, macula, uneven light."""
    image = scene.anatomy().signal(RETINA).transpose(1, 2, 0)
    image = image * (1 + 0.05 * scene.texture(24) + 0.06 * scene.texture(6))[..., None]
    mirror = 1 if scene.rng.random() < 0.5 else -1
    x, y = scene.x * mirror, scene.y
    disc_x, disc_y = 0.62, scene.rng.uniform(-0.06, 0.06)
    image *= 1 - 0.3 * np.exp(-(np.square(x + 0.12) + np.square(y)) / 0.02)[..., None]
    image *= 1 - (np.array([0.45, 0.72, 0.75], np.float32) * _vessels(scene, x, y, disc_x, disc_y)[..., None])
    disc = length(x - disc_x, (y - disc_y) * 0.88)
    glow = np.clip((0.15 - disc) / 0.035, 0, 1)[..., None]
    image += glow * 0.7 * (np.array([1.0, 0.82, 0.48], np.float32) - image)
    radius = length(scene.x, scene.y)
    light = 1.12 - 0.42 * np.square(radius)
    aperture = np.clip((0.97 - radius) / scene.pixel, 0, 1)
    image = image * (light * aperture)[..., None]
    return image + 0.018 * (scene.noise() * aperture)[..., None]


def _vessels(scene: Scene, x: Map, y: Map, disc_x: float, disc_y: float) -> Map:
    """Opacity (H, W) in [0, 1] of circular arcs that leave the optic disc and taper."""
    distance = length(x - disc_x, y - disc_y)
    x, y = x + 0.025 * scene.texture(7), y + 0.025 * scene.texture(7)
    shade = np.zeros_like(x)
    for sign in (-1, 1):
        for bend, width, reach, onward in VESSELS:
            radius, lean = bend * scene.rng.uniform(0.9, 1.15), scene.rng.uniform(-0.2, 0.35)
            centre_x = disc_x + onward * radius * math.cos(lean)
            centre_y = disc_y + sign * radius * math.sin(lean)
            line = np.abs(length(x - centre_x, y - centre_y) - radius)
            taper = width * (1 - distance / reach)
            part = np.clip((taper - line) / scene.pixel + 0.5, 0, 1) * np.clip(taper * 200, 0, 1)
            shade = np.maximum(shade, part * ((y - disc_y) * sign > 0))
    return shade


def render_dermoscopy(scene: Scene) -> Map:
    """Skin under a dermatoscope: pigment, network, hairs, gel bubbles, vignette."""
    tone = scene.rng.uniform(0.86, 1.06)
    tissue = scene.anatomy()
    image = tissue.signal(SKIN).transpose(1, 2, 0) * tone
    pigment = 1 - tissue.fractions[Tissue.AIR]
    angle = scene.rng.uniform(0, 3)
    u = scene.x * math.cos(angle) + scene.y * math.sin(angle) + 0.03 * scene.texture(9)
    v = scene.y * math.cos(angle) - scene.x * math.sin(angle) + 0.03 * scene.texture(9)
    network = np.maximum(np.cos(u * 34), np.cos((u * 0.5 + v * 0.87) * 34))
    image *= (1 - 0.07 * pigment * network + 0.035 * scene.texture(28))[..., None]
    for _ in range(int(scene.rng.integers(2, 6))):
        image *= 1 - 0.72 * _hair(scene)[..., None]
    for cx, cy, r in scene.rng.uniform((-0.9, -0.9, 0.02), (0.9, 0.9, 0.05), (3, 3)).tolist():
        distance = length(scene.x - cx, scene.y - cy)
        image += 0.16 * np.clip(1 - np.abs(distance - r) / 0.018, 0, 1)[..., None]
    vignette = 1.06 - 0.30 * np.square(length(scene.x, scene.y)) ** 2
    image *= np.clip(vignette, 0.12, 1.1)[..., None]
    return image + 0.015 * scene.noise()[..., None]


def _hair(scene: Scene) -> Map:
    """Coverage (H, W) of one bent hair that tapers to its ends."""
    angle, offset, radius, width, along = scene.rng.uniform(
        (0, -0.7, 0.7, 0.010, -0.7), (6.28, 0.7, 3, 0.018, 0.7)
    ).tolist()
    cos, sin = math.cos(angle), math.sin(angle)
    line = np.abs(length(scene.x - (radius + offset) * cos, scene.y - (radius + offset) * sin) - radius)
    taper = width * (1 - np.square((scene.y * cos - scene.x * sin - along) / 0.9))
    return np.clip((taper - line) / scene.pixel + 0.5, 0, 1) * (taper > 0)


def render_histology(scene: Scene) -> Map:
    """Haematoxylin and eosin by Beer-Lambert: fibrous stroma, and nuclei as dense as the tissue has cells."""
    tissue = scene.anatomy()
    eosin, cells, blue = tissue.signal(np.stack([EOSIN, CELLS, HAEMATOXYLIN], axis=1))
    flow = scene.y * 3 + scene.x + 0.35 * scene.texture(6)
    fibres = np.sin(flow * 16 + 1.2 * scene.texture(14))
    eosin = eosin * (1 + 0.16 * fibres + 0.12 * scene.texture(30))
    nuclei = np.maximum(_nuclei(scene, cells, 21), _nuclei(scene, cells, 16))
    blue = blue + 1.25 * nuclei
    strength = scene.rng.uniform(0.85, 1.15)
    density = np.stack([blue, np.clip(eosin, 0, None) * 0.62], axis=-1) * strength
    image = 0.97 * np.exp(-(density @ STAINS))
    return image + 0.018 * scene.noise()[..., None]


def _nuclei(scene: Scene, cells: Map, rows: int) -> Map:
    """Coverage (H, W) of nuclei on a jittered brick lattice; a site is filled with the local probability ``cells``."""
    angle = scene.rng.uniform(0, np.pi)
    turn = rows / 2
    u = (scene.x * math.cos(angle) + scene.y * math.sin(angle)) * turn + rows
    v = (scene.y * math.cos(angle) - scene.x * math.sin(angle)) * turn + rows
    row = np.floor(v).astype(np.int16)
    u = u + 0.5 * (row & 1).astype(np.float32)
    column = np.floor(u).astype(np.int16)
    sites = scene.rng.random((4, 2 * rows, 2 * rows + 1), dtype=np.float32)
    jitter_u, jitter_v, size, filled = sites[:, row, column]
    du = u - column - 0.5 - 0.44 * (jitter_u - 0.5)
    dv = v - row - 0.5 - 0.44 * (jitter_v - 0.5)
    radius = 0.16 + 0.14 * size
    inside = np.clip((radius - length(du, dv * 0.8)) * (2 / rows / scene.pixel) + 0.5, 0, 1)
    return inside * (filled < cells)
