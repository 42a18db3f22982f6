"""Whole image-text-to-text models of Hugging Face behind the interface of `MedVLM`.

The model is taken apart into tower, projector and language model, so that stages train, freeze and store its parts like
any other model's; sequences run through the model's own forward and ``generate``, which get the projected images.

Letters: B rows, T tokens, N image tokens, D width of the language model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor, nn
from transformers import GenerationConfig

from medgraph.alignment.head import NodeSet
from medgraph.config import ConfigError
from medgraph.data.chat import chat_format
from medgraph.data.collate import QuestionBatch, TokenBatch, pad
from medgraph.models.families import FAMILIES, Family, WholeTower
from medgraph.models.llava_format import import_llava
from medgraph.models.medvlm import MedVLM
from medgraph.models.tokenizer import load_tokenizer

DYNAMIC_SIZE = 448
"""Side of the images of a model that takes any size: 256 tokens of Qwen2-VL."""


class WholeVLM(MedVLM):
    """A whole image-text-to-text model.

    Args:
        vision: its tower; learns here how many places an image takes.
        projector: its projector.
        llm: the model without the two.
        tokenizer: its fast tokenizer, with an ``<image>`` token for all that the family writes for an image.
        family: of the model.

    Attributes:
        block: token ids that an image takes in a text.
    """

    block: Tensor

    def __init__(
        self, vision: WholeTower, projector: nn.Module, llm: nn.Module, tokenizer: Any, family: Family
    ) -> None:
        super().__init__(vision, projector, llm, tokenizer)  # type: ignore[arg-type]
        self.family, self.tiles = family, vision.tiles
        text = f"{family.before}{family.token * family.count(llm.config, vision.image_size)}{family.after}"
        self.register_buffer("block", torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"]), False)
        vision.num_tokens = len(self.block)

    def _inputs(self, batch: TokenBatch, image_tokens: Tensor | None) -> dict[str, Any]:
        """What the model takes for tokens and the images in them."""
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask.long()}
        if image_tokens is None:
            return inputs
        marks = batch.ids == self.image_token_id
        ids = batch.ids.masked_scatter(marks, self.block.repeat(len(image_tokens)))
        return inputs | {"input_ids": ids} | self.family.context(self.llm.config, ids, image_tokens)

    def _forward(self, batch: TokenBatch, image_tokens: Tensor | None, **options: Any) -> Any:
        inner: Any = self.llm.base_model
        return inner(**self._inputs(batch, image_tokens), **options)

    def hidden_states(self, passes: Mapping[str, tuple[TokenBatch, Tensor | None]]) -> dict[str, Tensor]:
        """Final hidden states of the language model for several kinds of sequences, in a padded pass each."""
        return {
            name: self._forward(batch, image_tokens, use_cache=False).last_hidden_state
            for name, (batch, image_tokens) in passes.items()
        }

    def image_nodes(self, image_tokens: Tensor, ids: Tensor) -> NodeSet:
        """Graph nodes of images: the mean over the N image tokens, or over the states of the tile that shows it."""
        return super().image_nodes(image_tokens[:, : image_tokens.shape[1] // self.tiles], ids)

    @torch.no_grad()
    def generate(self, batch: QuestionBatch, max_new_tokens: int) -> list[str]:
        """Answer questions greedily; see `MedVLM.generate`."""
        image_tokens = None if batch.images is None else self.encode_images(batch.images)
        tokenizer = self.tokenizer
        output = self.llm.generate(  # type: ignore[operator]
            **self._inputs(batch.prompts, image_tokens),
            generation_config=GenerationConfig(
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(chat_format(tokenizer).end)],
                pad_token_id=tokenizer.pad_token_id,
            ),
        )
        answers = output[:, batch.prompts.ids.shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]

    @torch.no_grad()
    def reply_logprobs(self, batch: QuestionBatch, replies: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
        """Log-likelihoods of given replies; see `MedVLM.reply_logprobs`.

        Replies of one token are read off one pass. Longer ones take a pass each: caches of these families cannot all
        be cut back.
        """
        image_tokens = None if batch.images is None else self.encode_images(batch.images)
        prompts = batch.prompts
        first = self._log_probs(self._forward(prompts, image_tokens, use_cache=False).last_hidden_state[:, -1])
        scores: list[list[float]] = [[] for _ in replies]
        for k in range(max(map(len, replies))):
            rows = [row for row, mine in enumerate(replies) if k < len(mine)]
            chosen = [replies[row][k] if k < len(replies[row]) else [0] for row in range(len(replies))]
            ids, real = (tensor.to(prompts.ids.device) for tensor in pad(chosen, 0))
            sums = first.gather(1, ids[:, :1]).squeeze(1)
            if ids.shape[1] > 1:
                given = TokenBatch(torch.cat([prompts.ids, ids[:, :-1]], 1), torch.cat([prompts.mask, real[:, :-1]], 1))
                hidden = self._forward(given, image_tokens, use_cache=False).last_hidden_state[:, 1 - ids.shape[1] :]
                following = self._log_probs(hidden).gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
                sums = sums + (following * real[:, 1:]).sum(1)
            for row in rows:
                scores[row].append(float(sums[row]))
        return scores


def load_whole(name: str, random: bool, image_size: int | None) -> MedVLM:
    """Load a whole image-text-to-text model by hub name or local path.

    Args:
        name: hub name or path, with tokenizer and image processor.
        random: keep the architecture only.
        image_size: side of the images in pixels, for families that take any.

    Raises:
        ConfigError: for a model type, tokenizer or image size that does not fit, or without an image processor.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    config: Any = AutoConfig.from_pretrained(name)
    if config.model_type == "llava":
        vlm = import_llava(name, random)  # it has the parts of a `MedVLM`, whose packed pass is faster
        _check_size(name, vlm.vision.image_size, image_size)
        return vlm
    if config.model_type not in FAMILIES:
        raise ConfigError(
            f"model.vlm={name}: models of type {config.model_type} are not supported, only llava, "
            f"{', '.join(FAMILIES)}; another type takes an entry in FAMILIES of medgraph/models/families.py"
        )
    family, tokenizer = FAMILIES[config.model_type], load_tokenizer(name, "model.vlm", chat=True)
    _check_tokens(name, family, tokenizer, config.image_token_id)
    try:
        chat_format(tokenizer)
    except (ValueError, TypeError, TemplateError) as error:
        raise ConfigError(f"model.vlm={name}: {error}") from error
    processor = _image_processor(name)
    side = _side(name, config.vision_config, processor, image_size)
    if random:
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    else:
        model = AutoModelForImageTextToText.from_pretrained(name, dtype=torch.float32)
    inner = model.base_model
    tower = getattr(inner, family.vision)
    projector = family.projector(tower, inner)
    vision = family.tower(tower, side, tuple(processor.image_mean), tuple(processor.image_std))
    return WholeVLM(vision, projector, model, tokenizer, family)


def _check_tokens(name: str, family: Family, tokenizer: Any, image_token_id: int) -> None:
    """Refuse a tokenizer that would spell the family's marks out."""
    vocabulary = tokenizer.get_vocab()
    for token in (family.token, family.before.strip(), family.after.strip()):
        if token and token not in vocabulary:
            raise ConfigError(f"model.vlm={name}: its tokenizer has no token {token}; take the one of the model")
    if vocabulary[family.token] != image_token_id:
        raise ConfigError(
            f"model.vlm={name}: {family.token} is token {vocabulary[family.token]} of its tokenizer and "
            f"{image_token_id} in config.json; take the tokenizer of the model"
        )


def _image_processor(name: str) -> Any:
    """A model's image processor, for its settings."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(name)
    except OSError as error:
        raise ConfigError(
            f"model.vlm={name}: no preprocessor_config.json or processor_config.json, which say how images are "
            "normalised; copy it from the model"
        ) from error


def _side(name: str, vision: Any, processor: Any, wanted: int | None) -> int:
    """Side of the images: the tower's, or for one that takes any what is wanted or fits the processor's range."""
    fixed = getattr(vision, "image_size", None)
    if fixed is not None:
        _check_size(name, fixed, wanted)
        return int(fixed)
    step = vision.patch_size * vision.spatial_merge_size
    if wanted is None:
        size = processor.size  # in pixels of an image, whatever the names say
        smallest, largest = size.shortest_edge or size.min_pixels, size.longest_edge or size.max_pixels
        return int(min(max(DYNAMIC_SIZE, math.sqrt(smallest)), math.sqrt(largest)) // step * step)
    if wanted % step:
        raise ConfigError(
            f"model.image_size={wanted}: {name} takes multiples of {step}, such as {wanted // step * step or step}"
        )
    return wanted


def _check_size(name: str, size: int, wanted: int | None) -> None:
    if wanted not in (None, size):
        raise ConfigError(f"model.image_size={wanted}: {name} takes images of {size} pixels; leave it out")
