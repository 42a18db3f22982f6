"""From factors to pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medgraph.data.phantom.factors import Factors
from medgraph.data.phantom.optics import render_dermoscopy, render_fundus, render_histology
from medgraph.data.phantom.radiology import render_ct, render_mri, render_ultrasound, render_xray
from medgraph.data.phantom.scene import Scene
from medgraph.data.phantom.shapes import Map
from medgraph.data.records import Image

RENDER: Mapping[str, Callable[[Scene], Map]] = {
    "x-ray": render_xray,
    "ct": render_ct,
    "mri": render_mri,
    "ultrasound": render_ultrasound,
    "fundus": render_fundus,
    "dermoscopy": render_dermoscopy,
    "histology": render_histology,
}


def render(factors: Factors, side: int) -> Image:
    """Render one image.

    Args:
        factors: see `Factors`; equal factors give equal pixels.
        side: edge in pixels, at least 32; made for 64 to 336.

    Returns:
        (side, side, 3) uint8 RGB.

    Raises:
        ValueError: if the side is too small to show a finding.
    """
    if side < 32:
        raise ValueError(f"side={side} pixels cannot show a phantom's findings; use at least 32")
    image = RENDER[factors.modality](Scene(factors, side))
    look = factors.nuisance
    image = look.contrast * (image - 0.5) + (0.5 + look.brightness)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8, order="C")
    border = round(look.border * side)
    if border:
        pixels[:border], pixels[-border:], pixels[:, :border], pixels[:, -border:] = 0, 0, 0, 0
    return pixels
