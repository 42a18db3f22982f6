"""An image with masks laid over it, side by side.

Letters: S side in pixels, K classes, the background first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from medgraph.data.records import Image
from medgraph.report.look import COLOURS, WIDTH, styled

OPACITY = 0.55


@styled
def draw_masks(image: Image, masks: Mapping[str, Image], classes: Sequence[str]) -> Figure:
    """Draw an image, and beside it the same image under each mask; the classes that occur are explained below.

    Args:
        image: (S, S, 3) uint8.
        masks: by title, (S, S) class of every pixel.
        classes: K names.
    """
    figure = Figure(figsize=(WIDTH, WIDTH / (1 + len(masks)) + 0.5), layout="constrained")
    panels = figure.subplots(1, 1 + len(masks))
    shown = {"image": image} | {title: lay_over(image, mask) for title, mask in masks.items()}
    for axes, (title, pixels) in zip(panels, shown.items(), strict=True):
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    present = sorted({int(number) for mask in masks.values() for number in np.unique(mask)} - {0})
    handles = [Patch(color=class_colour(number), label=classes[number]) for number in present]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def lay_over(image: Image, mask: Image) -> Image:
    """Colour the pixels of a mask's foreground.

    Args:
        image: (S, S, 3) uint8.
        mask: (S, S) class of every pixel, 0 stays as it is.

    Returns:
        (S, S, 3) uint8.
    """
    made = image.astype(np.float64)
    for number in set(np.unique(mask).tolist()) - {0}:
        colour = 255 * np.array(to_rgb(class_colour(number)))
        made[mask == number] = (1 - OPACITY) * made[mask == number] + OPACITY * colour
    return made.round().astype(np.uint8)


def class_colour(number: int) -> str:
    """Colour of a class; they come again where there are more classes than colours."""
    return COLOURS[(number - 1) % len(COLOURS)]
