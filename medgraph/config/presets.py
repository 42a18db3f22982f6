"""Short names of vision towers, as `model.vision` takes them."""

from __future__ import annotations

from pathlib import Path

from medgraph.config.errors import ConfigError, suggest

BUILT_IN = ("tiny", "small")
"""Towers and language models that MedGraph makes itself."""
VISION = {
    "clip-vit-b-16": "openai/clip-vit-base-patch16",
    "clip-vit-l-14": "openai/clip-vit-large-patch14",
    "clip-vit-l-14-336": "openai/clip-vit-large-patch14-336",
    "siglip-b-16-224": "google/siglip-base-patch16-224",
    "siglip-so400m-14-384": "google/siglip-so400m-patch14-384",
    "siglip2-so400m-14-384": "google/siglip2-so400m-patch14-384",
    "siglip2-so400m-16-naflex": "google/siglip2-so400m-patch16-naflex",
    "dinov2-s-14": "facebook/dinov2-small",
    "dinov2-b-14": "facebook/dinov2-base",
    "dinov2-l-14": "facebook/dinov2-large",
    "dinov2-reg-l-14": "facebook/dinov2-with-registers-large",
    "dinov3-l-16": "facebook/dinov3-vitl16-pretrain-lvd1689m",
    "biomedclip": "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
}
"""Hub name by short name. DINOv3 needs its licence accepted on the hub, BiomedCLIP needs timm."""


def vision_source(name: str) -> str:
    """Where a tower is loaded from: the hub name of a short name, else the name itself.

    Raises:
        ConfigError: for a name that is neither short, nor of the hub (it has no ``/``), nor a folder.

    Example:
        >>> vision_source("dinov2-l-14")
        'facebook/dinov2-large'
    """
    if name in VISION:
        return VISION[name]
    if name in BUILT_IN or "/" in name or Path(name).exists():
        return name
    raise ConfigError(f"model.vision={name}: unknown tower{suggest(name, [*BUILT_IN, *VISION])}; or a hub name "
                      "OWNER/NAME, or a folder")  # fmt: skip


def check_start(name: str) -> None:
    """Check the name of a tower that a training starts from: folders have to be there before anything runs.

    Raises:
        ConfigError: as `vision_source`, and for a path, by its several slashes or its start, that is no folder.
    """
    source = vision_source(name)
    looks_local = source.startswith(("/", ".")) or (source.count("/") > 1 and ":" not in source)
    if looks_local and not Path(source).exists():
        raise ConfigError(f"vision={name}: no such folder; give one that a pre-training has saved, or a hub name "
                          "OWNER/NAME")  # fmt: skip
