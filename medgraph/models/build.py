"""Models from configuration: the packaged tiny preset, or Hugging Face parts by name or local path."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medgraph.config import ConfigError, ModelConfig
from medgraph.config.presets import vision_source
from medgraph.models.connectors import Connector
from medgraph.models.lora import add_lora
from medgraph.models.loss import check_kernel
from medgraph.models.medvlm import MedVLM
from medgraph.models.projector import build_projector
from medgraph.models.prompts import add_prompts
from medgraph.models.small import SMALL_VOCABULARY, llama, small_llm, small_vision, vit
from medgraph.models.text_nodes import check_layers
from medgraph.models.tokenizer import fit_to_table, load_packaged_tokenizer, load_tokenizer, train_tokenizer
from medgraph.models.vision import VisionTower, load_vision
from medgraph.models.whole import load_whole

TINY_IMAGE, TINY_PATCH, TINY_WIDTH = 64, 16, 96


def tiny_vision() -> nn.Module:
    """A vision transformer of 0.3 M parameters for 64 x 64 images, random weights."""
    return vit(
        hidden_size=TINY_WIDTH,
        intermediate_size=2 * TINY_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=TINY_IMAGE,
        patch_size=TINY_PATCH,
        initializer_range=TINY_WIDTH**-0.5,
    )


def tiny_llm(vocab_size: int) -> nn.Module:
    """A LLaMA of 0.4 M parameters, random weights."""
    return llama(
        vocab_size=vocab_size,
        hidden_size=TINY_WIDTH,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        initializer_range=TINY_WIDTH**-0.5,  # 0.02 is meant for widths in the thousands
    )


def assets() -> Path:
    """Folder of the tiny preset's packaged weights and tokenizer (made by experiments/pretrain_tiny.py)."""
    return Path(str(resources.files("medgraph.models") / "assets"))


def assets_hash(config: ModelConfig) -> str | None:
    """8 hex digits of the packaged weights that a configuration starts from; None if it uses none."""
    if config.vlm is not None or config.weights == "random" or "tiny" not in (config.vision, config.llm):
        return None
    digest = hashlib.sha256()
    for file in sorted(assets().glob("*.*")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def build_model(config: ModelConfig, texts: Iterable[str], tokenizer: Any = None) -> MedVLM:
    """Build the model of a configuration.

    Args:
        config: names and options of the parts.
        texts: text of the training data. Where the tiny preset's tokenizer would have to spell it, a new one is
            trained on it, and each embedding starts as the mean of the pieces it replaces.
        tokenizer: the one that a run of the tiny or small preset has saved; ``texts`` are not needed then.

    Returns:
        The model in float32 on the CPU (a language model of four bits is on its GPU), in evaluation mode.
    """
    random = config.weights == "random"
    if config.vlm is not None:
        with _names("model.vlm", config.vlm):
            whole = load_whole(config.vlm, random, config.image_size)
        add_prompts(whole.vision, config.dvpt)
        return _choose(whole, config).eval()
    vision = build_vision(config)
    if config.llm == "tiny":
        llm, tokenizer = _tiny_language(texts, random, tokenizer)
    elif config.llm == "small":
        tokenizer = tokenizer or train_tokenizer(texts, SMALL_VOCABULARY)
        llm = small_llm(len(tokenizer))
    else:
        with _names("model.llm", config.llm):
            llm, tokenizer = _hub_language(config.llm, random, config.quantize)
    rows, width = llm.get_input_embeddings().weight.shape
    fit_to_table(tokenizer, rows)
    projector = build_projector(config.projector, vision.width, width, config.queries)
    return _choose(MedVLM(vision, projector, llm, tokenizer), config).eval()


def build_vision(config: ModelConfig) -> VisionTower:
    """Build the vision tower of a configuration, in float32 on the CPU, with its dynamic prompts.

    Raises:
        ConfigError: if there is no such tower, or it cannot have prompts.
    """
    tower = _plain_vision(config)
    add_prompts(tower, config.dvpt)
    return tower


def _plain_vision(config: ModelConfig) -> VisionTower:
    random, connector = config.weights == "random", Connector(config.connector, config.pool)
    if config.vision == "tiny":
        tower = tiny_vision()
        if not random:
            _load(tower, assets() / "vision.safetensors")
        return VisionTower(tower, config.vision_layer, (0.5,) * 3, (0.25,) * 3, connector)
    if config.vision == "small":
        return VisionTower(small_vision(), config.vision_layer, (0.5,) * 3, (0.25,) * 3, connector)
    with _names("model.vision", config.vision):
        return load_vision(vision_source(config.vision), config.vision_layer, random, connector)


def _choose(vlm: MedVLM, config: ModelConfig) -> MedVLM:
    """Set how a model computes its loss and text nodes, and add adapters."""
    check_kernel(config.loss)
    if config.text_nodes == "truncated":
        check_layers(vlm.llm, config.text_layers)
    add_lora(vlm, config.lora)
    vlm.loss_kernel, vlm.text_source, vlm.text_layers = config.loss, config.text_nodes, config.text_layers
    return vlm


@contextmanager
def _names(key: str, value: str) -> Iterator[None]:
    """Say which key led to a model that cannot be loaded."""
    try:
        yield
    except ConfigError:
        raise
    except (OSError, ValueError, ImportError) as error:
        if Path(value).is_dir() and not (Path(value) / "config.json").is_file():
            raise ConfigError(f"{key}={value}: the folder has no config.json; name one that a model was saved to or "
                              "downloaded to") from error  # fmt: skip
        reason = str(error).strip().splitlines()[0].rstrip(".:")
        raise ConfigError(f"{key}={value}: not a local folder with a model, nor a name that could be loaded: {reason}; "
                          "without a network give the folder of a download") from error  # fmt: skip


def _load(module: nn.Module, file: Path) -> None:
    from safetensors.torch import load_file

    module.load_state_dict({name: value.float() for name, value in load_file(file).items()}, strict=False)


def _tiny_language(texts: Iterable[str], random: bool, saved: Any) -> tuple[Any, Any]:
    texts = list(texts)
    if random:
        tokenizer = saved or train_tokenizer(texts)
        return tiny_llm(len(tokenizer)), tokenizer
    tokenizer = load_packaged_tokenizer(str(assets() / "tokenizer.json"))
    llm: Any = tiny_llm(len(tokenizer))
    _load(llm, assets() / "llm.safetensors")
    if saved is None and texts and fertility(tokenizer, texts) > 2:
        saved = train_tokenizer(texts)
    if saved is not None and saved.get_vocab() != tokenizer.get_vocab():
        move_embeddings(llm, tokenizer, saved)
    return llm, saved or tokenizer


def fertility(tokenizer: Any, texts: list[str]) -> float:
    """Tokens a word: 1 for a tokenizer made for the text, 3 and more for one that spells it."""
    tokens = sum(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))
    return tokens / max(1, sum(len(text.split()) for text in texts))


def move_embeddings(llm: Any, old: Any, new: Any) -> None:
    """Give a language model another tokenizer: each row becomes the mean of the old tokens that spell its text.

    Args:
        llm: model with tied embeddings for ``old``; changed in place.
        old: tokenizer the model was trained with.
        new: tokenizer with the same special tokens.
    """
    rows = llm.get_input_embeddings().weight.detach().clone()
    texts = [new.decode([token]) for token in range(len(new))]
    pieces = [old(text, add_special_tokens=False)["input_ids"] for text in texts]
    llm.resize_token_embeddings(len(new), mean_resizing=False)
    with torch.no_grad():
        llm.get_input_embeddings().weight.copy_(torch.stack([rows[ids or [0]].mean(0) for ids in pieces]))


def _hub_language(name: str, random: bool, quantize: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = load_tokenizer(name)
    if random:
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name), dtype=torch.float32), tokenizer
    options = {} if quantize == "none" else four_bits()
    return AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **options), tokenizer


def four_bits() -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for frozen NF4 weights on this process's GPU (QLoRA, arXiv:2305.14314).

    Raises:
        ConfigError: without CUDA or bitsandbytes.
    """
    if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("model.quantize=4bit: needs a CUDA device and bitsandbytes; pip install 'medgraph[qlora]'")
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    return {"quantization_config": quantization, "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}
