"""CLIP-style dual encoders: images, their patches, and texts with learnt vectors inside, all in one space.

Letters: B images, S side in pixels, N patches, D width of the shared space, P prompts, L tokens of a prompt, M vectors
of a context, W width of word embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medgraph.config import ConfigError
from medgraph.models.vision import CLIP_MEAN, CLIP_STD, image_settings

KINDS = ("clip", "siglip")


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Images in the space of the texts, L2-normalised.

    Attributes:
        pooled: (B, D).
        tokens: (B, N, D), one a patch.
    """

    pooled: Tensor
    tokens: Tensor


@dataclass(frozen=True, slots=True)
class Prompts:
    """Texts as tokens, each with room for a context in front of its words.

    Attributes:
        ids: (P, L) int64.
        slots: (P, L) bool, M a row: where the context goes.
    """

    ids: Tensor
    slots: Tensor


class DualEncoder(nn.Module):
    """A frozen image and text encoder that share a space.

    Patches get into that space the way the pooled image does: through the projection (CLIP), or through the
    attention pooling, each patch alone (SigLIP).

    Args:
        model: a Hugging Face ``CLIPModel`` or ``SiglipModel``; its parameters are frozen.
        tokenizer: its tokenizer.
        mean: three channel means for values in [0, 1].
        std: three channel standard deviations.

    Attributes:
        image_size: S.
        word_width: W.
        scale: factor of cosines that makes them logits.

    Raises:
        ConfigError: for a model of another kind.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: Any, tokenizer: Any, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD
    ) -> None:
        super().__init__()
        self.kind = model.config.model_type
        if self.kind not in KINDS:
            raise ConfigError(f"{type(model).__name__} is no dual encoder known here; expected one of the kinds "
                              f"{', '.join(KINDS)}")  # fmt: skip
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.image_size = int(model.config.vision_config.image_size)
        self.max_tokens = int(model.config.text_config.max_position_embeddings)
        self.words = model.text_model.embeddings.token_embedding
        self.word_width = int(self.words.embedding_dim)
        self.scale = float(model.logit_scale.exp())
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Pixel values, as the model takes them, of (B, 3, S, S) uint8 images."""
        return (images.float() / 255 - self.mean) / self.std

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Encode (B, 3, S, S) uint8 images."""
        tower = self.model.vision_model
        output = tower(pixel_values=self.normalise(images))
        pooled, hidden = output.pooler_output, output.last_hidden_state
        if self.kind == "clip":
            project = self.model.visual_projection
            pooled, tokens = project(pooled), project(tower.post_layernorm(hidden[:, 1:]))
        else:
            tokens = tower.head(hidden.flatten(0, 1).unsqueeze(1)).unflatten(0, hidden.shape[:2])
        return ImageFeatures(F.normalize(pooled, dim=-1), F.normalize(tokens, dim=-1))

    def tokenize(self, texts: Sequence[str], context: int = 0) -> Prompts:
        """Encode texts and leave room for a context between the begin of the text and its first word.

        Args:
            texts: P texts.
            context: M.

        Raises:
            ConfigError: for a text that is empty or, with its context, longer than the encoder reads.
        """
        slot = next(i for i in range(len(self.tokenizer)) if i not in self.tokenizer.all_special_ids)
        encoded = self.tokenizer(list(texts), return_special_tokens_mask=True, verbose=False)
        rows, starts = [], []
        for text, ids, special in zip(texts, encoded["input_ids"], encoded["special_tokens_mask"], strict=True):
            if 0 not in special or len(ids) + context > self.max_tokens:
                raise ConfigError(f"prompt {text!r} has {len(ids)} tokens and a context of {context}; expected at "
                                  f"least one word, at most {self.max_tokens} tokens in all: shorten it")  # fmt: skip
            start = special.index(0)
            rows.append([*ids[:start], *[slot] * context, *ids[start:]])
            starts.append(start)
        # SigLIP was trained, and pools, at the end of full padding
        width = self.max_tokens if self.kind == "siglip" else max(map(len, rows))
        pad = self.tokenizer.eos_token_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self.mean.device)
        begin = torch.tensor(starts, device=ids.device).unsqueeze(1)
        place = torch.arange(width, device=ids.device)
        return Prompts(ids, (place >= begin) & (place < begin + context))

    def encode_prompts(self, prompts: Prompts, contexts: Tensor) -> Tensor:
        """Encode texts with a context in the place of word embeddings; differentiable in the contexts.

        Args:
            prompts: from `tokenize`.
            contexts: (P, M, W) float.

        Returns:
            (P, D) float, L2-normalised.
        """
        slots = prompts.slots.unsqueeze(-1)

        def insert(_module: nn.Module, _inputs: Any, words: Tensor) -> Tensor:
            return words.masked_scatter(slots, contexts.to(words.dtype))

        handle = self.words.register_forward_hook(insert)
        try:
            return self._encode(prompts.ids)
        finally:
            handle.remove()

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode P texts as they are: (P, D) float, L2-normalised."""
        return self._encode(self.tokenize(texts).ids)

    def _encode(self, ids: Tensor) -> Tensor:
        pooled = self.model.text_model(input_ids=ids).pooler_output
        return F.normalize(self.model.text_projection(pooled) if self.kind == "clip" else pooled, dim=-1)


def load_dual_encoder(name: str) -> DualEncoder:
    """Load a CLIP or SigLIP by hub name or local path, with its tokenizer and the colours of its image processor.

    Raises:
        ConfigError: for a model of another kind.
    """
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(name, dtype=torch.float32)
    mean, std, _ = image_settings(name)
    return DualEncoder(model, AutoTokenizer.from_pretrained(name), mean, std)
