"""Dual encoders to be trained, and what alignment heads see of them.

Letters: B pairs, S side in pixels, T tokens of a text, N patches, D width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from medgraph.alignment.head import AlignmentHead, AlignmentInput, NodeSet
from medgraph.alignment.heads.base import MAX_SCALE, LearntScale
from medgraph.config import ConfigError
from medgraph.contrast.data import PairBatch
from medgraph.models.saving import save_parts
from medgraph.models.vision import image_settings
from medgraph.prompting.encoder import DualEncoder, load_dual_encoder
from medgraph.prompting.tiny_clip import tiny_encoder


def build_encoder(name: str, random: bool, texts: Iterable[str]) -> DualEncoder:
    """Make or load what is trained, in float32 on the CPU.

    Args:
        name: ``tiny``, or a CLIP or SigLIP by hub name or path.
        random: keep the architecture only.
        texts: that the tokenizer of ``tiny`` knows the words of.

    Raises:
        ConfigError: if there is no such dual encoder.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        if name == "tiny":
            encoder = tiny_encoder(texts)
        elif random:
            model = AutoModel.from_config(AutoConfig.from_pretrained(name), dtype=torch.float32)
            encoder = DualEncoder(model, AutoTokenizer.from_pretrained(name), *image_settings(name)[:2])
        else:
            encoder = load_dual_encoder(name)
    except ConfigError as error:
        raise ConfigError(f"encoder={name}: {error}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder={name}: not a local folder with a model, nor a name that could be loaded: "
                          f"{str(error).strip().splitlines()[0]}") from error  # fmt: skip
    encoder.model.requires_grad_(True)
    for own in ("logit_scale", "logit_bias"):  # the head has these
        if hasattr(encoder.model, own):
            getattr(encoder.model, own).requires_grad_(False)
    return encoder


def build_head(head: AlignmentHead, encoder: DualEncoder, goes_on: bool) -> AlignmentHead:
    """Make a head ready for an encoder.

    Args:
        head: not yet set up.
        encoder: what is trained.
        goes_on: start a temperature that is learnt where the encoder's is.
    """
    head.setup(shared_width(encoder))
    scale = getattr(head, "scale", None)
    if goes_on and isinstance(scale, LearntScale) and scale.log_scale.requires_grad:
        with torch.no_grad():
            scale.log_scale.fill_(math.log(encoder.scale))
    return head


def shared_width(encoder: DualEncoder) -> int:
    """D of an encoder."""
    text = encoder.model.config.text_config
    return int(encoder.model.config.projection_dim if encoder.kind == "clip" else text.projection_size)


def encode_words(encoder: DualEncoder, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Encode texts as `DualEncoder` does, and their tokens on the way of the pooled text.

    Args:
        encoder: what is trained.
        tokens: (B, T) int64.

    Returns:
        Pooled texts (B, D) and tokens (B, T, D), both L2-normalised.
    """
    tower = encoder.model.text_model
    output = tower(input_ids=tokens)
    if encoder.kind == "clip":
        project = encoder.model.text_projection
        pooled, words = project(output.pooler_output), project(output.last_hidden_state)
    else:
        pooled, words = output.pooler_output, tower.head(output.last_hidden_state)
    return F.normalize(pooled, dim=-1), F.normalize(words, dim=-1)


def batch_nodes(encoder: DualEncoder, batch: PairBatch, noise: torch.Generator | None = None) -> AlignmentInput:
    """What an alignment head sees of a batch: images with their patches, texts with their words."""
    images = encoder.encode_images(batch.images)
    pooled, words = encode_words(encoder, batch.tokens)
    return AlignmentInput(
        NodeSet(images.pooled, images.tokens, ids=batch.image_ids),
        {"text": NodeSet(pooled, words, batch.words, batch.text_ids)},
        noise,
        batch.entities,
    )


def save_dual_encoder(encoder: DualEncoder, head: AlignmentHead | None, folder: Path) -> Path:
    """Write a folder that `load_dual_encoder` and ``model.vision=FOLDER`` load; whole or not at all.

    Args:
        encoder: trained.
        head: its temperature becomes that of the model; None keeps it.
        folder: to make; replaced if it is there.
    """
    scale = getattr(head, "scale", None)
    if isinstance(scale, LearntScale):
        factor = min(MAX_SCALE, scale.log_scale.detach().exp().item())
    else:
        factor = 1 / getattr(head, "temperature", 1 / encoder.scale)
    with torch.no_grad():
        encoder.model.logit_scale.fill_(math.log(factor))
    return save_parts(folder, encoder.image_size, encoder.mean, encoder.std, encoder.model, encoder.tokenizer)
