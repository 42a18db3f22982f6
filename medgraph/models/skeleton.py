"""Models without weights: every shape and the tokenizer of a configuration, at no cost in memory, also offline."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from medgraph.config import ModelConfig
from medgraph.models.build import assets, build_model
from medgraph.models.medvlm import MedVLM
from medgraph.models.tokenizer import load_packaged_tokenizer

_CLIP_L = {
    "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
    "num_attention_heads": 16, "projection_dim": 768, "patch_size": 14,
}  # fmt: skip
_LLAMA_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14": {**_CLIP_L, "image_size": 224},
    "openai/clip-vit-large-patch14-336": {**_CLIP_L, "image_size": 336},
    "huggyllama/llama-7b": {**_LLAMA_7B, "max_position_embeddings": 2048},
    "lmsys/vicuna-7b-v1.5": {**_LLAMA_7B, "max_position_embeddings": 4096},
}
"""What the presets' models are made of (their published ``config.json``), for machines that do not have them."""


def build_skeleton(config: ModelConfig, texts: Iterable[str], stand_in: bool = False) -> tuple[MedVLM, bool]:
    """Build a model on the meta device; the packaged tiny language model, which learns its tokenizer, as it is.

    Args:
        config: names and options of the parts; quantisation is left out.
        texts: see `build_model`.
        stand_in: where a preset's models are not on this machine, take `ARCHITECTURES` and the packaged tokenizer.

    Returns:
        The model, and whether its tokenizer is a stand-in.

    Raises:
        ConfigError: for a part that cannot be loaded.
    """
    if config.vlm is None and config.llm == "tiny":
        return build_model(config, texts), False
    with _stand_ins(config, stand_in) as known, torch.device("meta"):
        return build_model(replace(known, weights="random", quantize="none"), texts), known.llm != config.llm


@contextmanager
def _stand_ins(config: ModelConfig, wanted: bool) -> Iterator[ModelConfig]:
    """The configuration with folders that hold an architecture in place of models that are not here."""
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Any] = {}
        for part in ("vision", "llm"):
            name = getattr(config, part)
            if wanted and name in ARCHITECTURES and not _is_here(name):
                parts[part] = _write(Path(folder) / part, ARCHITECTURES[name])
        yield replace(config, **parts)


def _is_here(name: str) -> bool:
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name, local_files_only=True)
    except OSError:
        return False
    return True


def _write(folder: Path, architecture: dict[str, Any]) -> str:
    """A folder with a ``config.json`` and the packaged tokenizer."""
    from transformers import AutoConfig

    load_packaged_tokenizer(str(assets() / "tokenizer.json")).save_pretrained(folder)
    AutoConfig.for_model(**architecture).save_pretrained(folder)
    return str(folder)
