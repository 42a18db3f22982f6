"""A CLIP small enough for a CPU, trained by contrast on the images and texts of a corpus where none is downloaded.

Letters: N images, S side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medgraph.config import ConfigError
from medgraph.data.collate import stack_images
from medgraph.data.records import Corpus, Record, conversations_in
from medgraph.models.vision import CLIP_MEAN, CLIP_STD
from medgraph.prompting.classes import TEMPLATES, WORDINGS, ClassTexts, describe_by_template
from medgraph.prompting.draw import full_name
from medgraph.prompting.options import TinyClipOptions

WIDTH, PATCH, MAX_TOKENS = 64, 8, 64
"""Of the towers."""
BATCH, LR = 64, 2e-3
"""Of their training."""


def pretrain(
    corpus: Corpus, texts: ClassTexts, options: TinyClipOptions, seed: int, folder: Path, device: str = "cpu"
) -> float:
    """Train a CLIP on ``train`` and save it with its tokenizer, for `load_dual_encoder`.

    Args:
        corpus: with an ``ood`` split: the classes that are to be learnt from few images must be new.
        texts: of these classes; the tokenizer knows their words, whether an image of ``train`` shows them or not.
        options: steps and image size.
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
    tokenizer = word_tokenizer([text for each in captions for text in each] + words)
    images = stack_images([corpus.load_image(records[0].image, options.image_size) for records in groups])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make_clip(tokenizer, options.image_size).to(device)
        loss = train_clip(model, tokenizer, images, captions, options.steps, torch.Generator().manual_seed(seed))
    part = folder.with_name(f"{folder.name}.part")
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.rename(folder)
    return loss


def captions_of(records: Sequence[Record]) -> list[str]:
    """Texts about one image: the extended answers of its records, its class in all templates and all wordings."""
    first = records[0]
    described = describe_by_template([first.label], [first.triplet], WORDINGS).descriptions[0]
    templates = (template.format(full_name(first)) for template in TEMPLATES)
    return [*(record.extended for record in records), *templates, *described]


def word_tokenizer(texts: Sequence[str]) -> Any:
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


def make_clip(tokenizer: Any, image_size: int) -> Any:
    """A ``CLIPModel`` of two towers with random weights."""
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4}
    ends = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    text = {**sizes, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": MAX_TOKENS}
    vision = {**sizes, "image_size": image_size, "patch_size": PATCH}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def train_clip(
    model: Any,
    tokenizer: Any,
    images: Tensor,
    captions: Sequence[Sequence[str]],
    steps: int,
    generator: torch.Generator,
) -> float:
    """Train by CLIP's loss on random batches, one random caption an image a step.

    Args:
        model: a ``CLIPModel``; changed in place.
        tokenizer: its tokenizer.
        images: (N, 3, S, S) uint8.
        captions: N times at least one text.
        steps: of AdamW, with one cosine.
        generator: draws batches and captions.

    Returns:
        Mean loss of the last tenth of the steps.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps + 1, pct_start=0.1)
    mean, sd = (torch.tensor(each, device=model.device).view(1, 3, 1, 1) for each in (CLIP_MEAN, CLIP_STD))
    losses = []
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(images), (min(BATCH, len(images)),), generator=generator).tolist()
        picks = torch.rand(len(chosen), generator=generator).tolist()
        texts = [captions[i][int(pick * len(captions[i]))] for i, pick in zip(chosen, picks, strict=True)]
        encoded = tokenizer(texts, padding=True, return_tensors="pt").to(model.device)
        pixels = (images[chosen].to(model.device).float() / 255 - mean) / sd
        loss = model(encoded["input_ids"], pixels, encoded["attention_mask"], return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)
