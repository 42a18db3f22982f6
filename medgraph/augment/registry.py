"""Mixes by name."""

from __future__ import annotations

from medgraph.augment.base import Mix
from medgraph.augment.pairs import CutMix, MixUp, SnapMix
from medgraph.augment.single import YOCO, AugMix, CropMix

MIXES: dict[str, type[Mix]] = {cls().name: cls for cls in (Mix, MixUp, CutMix, SnapMix, AugMix, CropMix, YOCO)}
"""The six of MediAug (arXiv:2504.18983), and ``none``."""


def register_mix(cls: type[Mix]) -> type[Mix]:
    """Make a mix known by the default of its ``name``; a decorator.

    Raises:
        ValueError: if the name is taken.
    """
    name = cls().name
    if name in MIXES:
        raise ValueError(f"mix {name!r} is {MIXES[name].__name__} already; choose another name")
    MIXES[name] = cls
    return cls
