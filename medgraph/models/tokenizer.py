"""Tokenizers: byte-level BPE trained offline for the tiny preset, Hugging Face ones by name or path otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from medgraph.config import ConfigError
from medgraph.data.conversation import IMAGE_MARK

SPECIALS = ("<pad>", "<s>", "</s>", IMAGE_MARK)


def count_words(tokenizer: Any, texts: Iterable[str], size: int) -> Tensor:
    """Count how often each token occurs in texts, a thousand at a time.

    Args:
        tokenizer: fast Hugging Face tokenizer.
        texts: the corpus.
        size: V, rows of the embedding table.

    Returns:
        (V,) int64; special tokens count as often as the texts spell them.
    """
    texts, counts = iter(texts), torch.zeros(size, dtype=torch.int64)
    while batch := list(islice(texts, 1000)):
        ids = torch.tensor(list(chain.from_iterable(tokenizer(batch, add_special_tokens=False)["input_ids"])))
        counts += torch.bincount(ids[ids < size].long(), minlength=size)
    return counts


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> Any:
    """Train a byte-level BPE tokenizer that encodes any text and puts ``<s>`` first, as LLaMA's does.

    Args:
        texts: the corpus.
        vocab_size: upper bound on the number of tokens, at least 260 (256 bytes and the special tokens).

    Returns:
        A fast Hugging Face tokenizer with ``<pad> <s> </s> <image>`` as tokens 0 to 3.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocab_size < 260:
        raise ValueError(f"vocab_size={vocab_size}: 256 bytes and {len(SPECIALS)} special tokens need at least 260")
    model = Tokenizer(models.BPE(unk_token=None))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return _wrap(model)


def load_packaged_tokenizer(file: str) -> Any:
    """Load the ``tokenizer.json`` of the tiny preset."""
    from tokenizers import Tokenizer

    return _wrap(Tokenizer.from_file(file))


def _wrap(model: Any) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    model.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", model.token_to_id("<s>"))]
    )
    pad, bos, eos, image = SPECIALS
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        extra_special_tokens={"image_token": image},
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(name: str, key: str = "model.llm", chat: bool = False) -> Any:
    """Load a Hugging Face tokenizer by hub name or local path and make it fit: ``<image>`` and a padding token.

    Args:
        name: hub name or path.
        key: the configuration key that it comes from.
        chat: keep its chat template, in which conversations are then written (`medgraph.data.chat`).

    Raises:
        ConfigError: if the tokenizer is a slow one (no character offsets) or has no end-of-text token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    if not tokenizer.is_fast:
        raise ConfigError(f"{key}={name}: needs a fast tokenizer (tokenizer.json), labels are placed by its offsets")
    if tokenizer.eos_token is None:
        raise ConfigError(f"{key}={name}: its tokenizer has no end-of-text token, answers could not end")
    tokenizer.add_special_tokens({"extra_special_tokens": [IMAGE_MARK]}, replace_extra_special_tokens=False)
    if not chat:
        tokenizer.chat_template = None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def fit_to_table(tokenizer: Any, rows: int) -> None:
    """Pad with a token that a language model has a row for; the one that answers end with must have one.

    Args:
        tokenizer: changed in place.
        rows: tokens of the model's embedding table; one behind it is met where a tokenizer was extended alone.

    Raises:
        ConfigError: if the end-of-text token has none.
    """
    if tokenizer.eos_token_id >= rows:
        raise ConfigError(f"model.llm: its tokenizer ends texts with token {tokenizer.eos_token_id}, the model knows "
                          f"{rows} tokens; the two do not belong together")  # fmt: skip
    if tokenizer.pad_token_id >= rows:
        tokenizer.pad_token = tokenizer.eos_token
