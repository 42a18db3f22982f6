"""A CLIP small enough for a CPU, trained by contrast on the images and texts of a corpus where none is downloaded.

Letters: N images, S side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from medgraph.config import ConfigError
from medgraph.data.collate import stack_images
from medgraph.data.records import Corpus, Record, conversations_in
from medgraph.models.saving import save_parts
from medgraph.progress import track
from medgraph.prompting.classes import TEMPLATES, WORDINGS, ClassTexts, describe_by_template
from medgraph.prompting.draw import full_name
from medgraph.prompting.encoder import DualEncoder

IMAGE, PATCH, WIDTH, MAX_TOKENS = 64, 16, 96, 64
"""Of the towers."""
BATCH, LR = 64, 2e-3
"""Of their training here."""


def pretrain(
    corpus: Corpus, texts: ClassTexts, steps: int, seed: int, folder: Path, device: torch.device | str = "cpu"
) -> float:
    """Train a tiny CLIP on ``train`` and save it for `load_dual_encoder`.

    Args:
        corpus: with an ``ood`` split: the classes that are to be learnt from few images must be new.
        texts: of these classes; the tokenizer knows their words, whether an image of ``train`` shows them or not.
        steps: of AdamW.
        seed: of weights, batches and captions.
        folder: to make.
        device: to train on.

    Returns:
        Loss at the end.

    Raises:
        ConfigError: if the corpus has no ``ood`` split.
    """
    if not corpus.splits.get("ood"):
        raise ConfigError("encoder is empty, and the data holds no combination out that a tiny CLIP could be tested on "
                          "after training on the others; give encoder=NAME, or data.ood_subsets")  # fmt: skip
    groups = conversations_in(corpus.splits["train"])
    captions = [captions_of(records) for records in groups]
    words = [*texts.names, *TEMPLATES, *(text for sentences in texts.descriptions for text in sentences)]
    images = stack_images([corpus.load_image(records[0].image, IMAGE) for records in groups])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = tiny_encoder([text for each in captions for text in each] + words).to(device)
    loss = train_clip(encoder, images, captions, steps, torch.Generator().manual_seed(seed))
    save_parts(folder, IMAGE, encoder.mean, encoder.std, encoder.model, encoder.tokenizer)
    return loss


def captions_of(records: Sequence[Record]) -> list[str]:
    """Texts about one image: the extended answers of its records, its class in all templates and all wordings."""
    first = records[0]
    described = describe_by_template([first.label], [first.triplet], WORDINGS).descriptions[0]
    templates = (template.format(full_name(first)) for template in TEMPLATES)
    return [*(record.extended for record in records), *templates, *described]


def word_tokenizer(texts: Iterable[str]) -> Any:
    """A fast tokenizer whose tokens are the words of the texts, lower case, between ``<s>`` and ``</s>``.

    Both ends come last: CLIP pools at the end of the text, which models whose end is token 2 take for the highest one.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Whitespace()
    words = sorted({word for text in texts for word, _ in split.pre_tokenize_str(text.lower())})
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<unk>", *words, "<s>", "</s>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), split
    ends = [(token, vocabulary[token]) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def tiny_encoder(texts: Iterable[str]) -> DualEncoder:
    """A CLIP of 0.6 M parameters for 64 × 64 images and the words of the texts, random weights."""
    from transformers import CLIPConfig, CLIPModel

    tokenizer = word_tokenizer(texts)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    ends = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    text = {**sizes, **ends, "num_hidden_layers": 2, "vocab_size": len(tokenizer),
            "max_position_embeddings": MAX_TOKENS}  # fmt: skip
    vision = {**sizes, "num_hidden_layers": 4, "image_size": IMAGE, "patch_size": PATCH}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))
    return DualEncoder(model, tokenizer, (0.5,) * 3, (0.25,) * 3)


def train_clip(
    encoder: DualEncoder, images: Tensor, captions: Sequence[Sequence[str]], steps: int, generator: torch.Generator
) -> float:
    """Train by CLIP's loss on random batches, one random caption an image a step.

    Args:
        encoder: a CLIP; its model is changed in place.
        images: (N, 3, S, S) uint8.
        captions: N times at least one text.
        steps: of AdamW, with one cosine.
        generator: draws batches and captions.

    Returns:
        Mean loss of the last tenth of the steps; NaN without steps.
    """
    model, tokenizer = encoder.model.train().requires_grad_(True), encoder.tokenizer
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps + 1, pct_start=0.1)
    losses = []
    for _ in track(range(steps), "tiny CLIP"):
        chosen = torch.randint(len(images), (min(BATCH, len(images)),), generator=generator).tolist()
        picks = torch.rand(len(chosen), generator=generator).tolist()
        texts = [captions[i][int(pick * len(captions[i]))] for i, pick in zip(chosen, picks, strict=True)]
        encoded = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        encoded = encoded.to(model.device)
        pixels = encoder.normalise(images[chosen].to(model.device))
        loss = model(encoded["input_ids"], pixels, encoded["attention_mask"], return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval().requires_grad_(False)
    return fmean(losses[-max(1, steps // 10) :]) if losses else math.nan
