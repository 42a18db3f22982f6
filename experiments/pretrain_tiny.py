"""Pre-train the tiny preset's tower and language model: they stand for CLIP and the LLM that real models start from.

The language model learns next tokens of questions and answers about phantoms, without images; mostly behind a sentence
with the facts, so that it learns what any language model can: to look an answer up in its context, where the image will
stand later. The tower learns masked denoising: half of the patches are replaced by noise, and the clean pixels of those
patches are predicted. Neither sees a label beside an image, and the images come from another data seed than any study
uses. All combinations of modality, area and finding occur in both (as CLIP and an LLM would have seen them), so a
study's held-out combinations are held out of its instruction data, not of this pre-training.

Writes tokenizer.json, llm.safetensors and vision.safetensors (float16) to medgraph/models/assets.

    python experiments/pretrain_tiny.py            # about 6 minutes on one core
    python experiments/pretrain_tiny.py --out /tmp/assets --steps 5
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.config import PhantomConfig
from medgraph.data import build_corpus
from medgraph.data.collate import pad, stack_images
from medgraph.data.conversation import IGNORE, Encoded, ask, reply
from medgraph.data.phantom import AREAS, FINDINGS, MODALITIES
from medgraph.data.records import Corpus, Record
from medgraph.models.build import TINY_IMAGE, TINY_PATCH, TINY_WIDTH, assets, tiny_llm, tiny_vision
from medgraph.models.tokenizer import train_tokenizer
from medgraph.models.vision import VisionTower
from medgraph.training.prepare import corpus_texts

DATA_SEED = 1_000_003


def corpus(extended: str, images: int) -> Corpus:
    """All modalities, areas and findings, none held out, from a data seed of their own."""
    return build_corpus(
        PhantomConfig(
            seed=DATA_SEED,
            num_train=images,
            num_task=0,
            num_val=0,
            num_test=1,
            num_ood=0,
            holdout=0.0,
            num_modalities=len(MODALITIES),
            num_areas=len(AREAS),
            num_findings=len(FINDINGS),
            questions_per_image=4,
            extended=extended,
        )
    )


def train(parameters: list[nn.Parameter], losses: Iterator[Tensor], steps: int, lr: float, name: str) -> None:
    """AdamW with one cosine from warm-up to zero over a stream of losses."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=min(0.05, 2 / steps + 0.01)
    )
    for step, loss in enumerate(itertools.islice(losses, steps), start=1):
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"{name} {step}/{steps}: loss {loss.item():.3f}", flush=True)


def language_losses(llm: nn.Module, samples: list[Encoded], batch: int) -> Iterator[Tensor]:
    """Next-token losses of random batches, without end."""
    rng = np.random.default_rng(0)
    while True:
        chosen = [samples[i] for i in rng.integers(len(samples), size=batch)]
        ids, mask = pad([sample.ids for sample in chosen], 0)
        labels, _ = pad([sample.labels for sample in chosen], IGNORE)
        yield llm(input_ids=ids, attention_mask=mask.long(), labels=labels).loss


def denoising_losses(tower: VisionTower, decoder: nn.Module, images: Tensor, batch: int) -> Iterator[Tensor]:
    """Squared errors of normalised pixels in the patches that were replaced by noise, without end."""
    generator = torch.Generator().manual_seed(0)
    cells = TINY_IMAGE // TINY_PATCH
    while True:
        clean = images[torch.randint(len(images), (batch,), generator=generator)]
        hidden = torch.rand(batch, 1, cells, cells, generator=generator) < 0.5
        noise = torch.randint(256, clean.shape, generator=generator, dtype=torch.uint8)
        pixels = hidden.repeat_interleave(TINY_PATCH, 2).repeat_interleave(TINY_PATCH, 3)
        predicted = decoder(tower(torch.where(pixels, noise, clean)))
        target = F.unfold(clean.float() / 255, TINY_PATCH, stride=TINY_PATCH).transpose(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.std(-1, keepdim=True) + 0.05)
        yield (predicted - target).square().mean(-1)[hidden.flatten(1)].mean()


def reading_tasks(source: Corpus, tokenizer: Any) -> list[Encoded]:
    """Conversations about a sentence that stands in the place of the image; the answers are learnt."""
    images: dict[str, list[Record]] = {}
    for record in source.splits["train"]:
        images.setdefault(record.image_id, []).append(record)
    rng = np.random.default_rng(0)
    samples = []
    for records in images.values():
        order = [records[i] for i in rng.permutation(len(records))]
        ids = list(tokenizer(f"USER: {order[0].extended}\n")["input_ids"])
        labels = [IGNORE] * len(ids)
        for turn, record in enumerate(order):
            question = tokenizer(f"{'USER: ' if turn else ''}{ask(record)} ASSISTANT:", add_special_tokens=False)[
                "input_ids"
            ]
            answer = tokenizer(f" {reply(record)}{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]
            ids += question + answer
            labels += [IGNORE] * len(question) + answer
        samples.append(Encoded(ids, labels))
    return samples


def pretrain_language(out: Path, steps: int, images: int) -> None:
    """Train the tokenizer and the language model on the texts of phantoms."""
    texts = [text for kind in ("context", "paraphrase") for text in corpus_texts(corpus(kind, images))]
    tokenizer = train_tokenizer(texts)
    tokenizer.backend_tokenizer.save(str(out / "tokenizer.json"))
    print(f"tokenizer: {len(tokenizer)} tokens", flush=True)
    samples = reading_tasks(corpus("context", 3 * images), tokenizer)
    plain = tokenizer([f"{text}{tokenizer.eos_token}" for text in texts[:: max(1, len(texts) // images)]])["input_ids"]
    samples += [Encoded(ids, ids) for ids in plain]
    llm = tiny_llm(len(tokenizer))
    train(list(llm.parameters()), language_losses(llm, samples, 64), steps, 3e-3, "language model")
    _save(llm, out / "llm.safetensors")


def pretrain_vision(out: Path, steps: int, images: int) -> None:
    """Train the tower to fill in what noise has hidden."""
    source = corpus("context", images)
    names = sorted({record.image for record in source.splits["train"]})
    pixels = stack_images([source.load_image(name, TINY_IMAGE) for name in names])
    model = tiny_vision()
    tower = VisionTower(model, -1, (0.5,) * 3, (0.25,) * 3)
    decoder = nn.Linear(TINY_WIDTH, 3 * TINY_PATCH**2)
    trained = [p for p in (*tower.parameters(), *decoder.parameters()) if p.requires_grad]
    train(trained, denoising_losses(tower, decoder, pixels, 64), steps, 2e-3, "tower")
    _save(model, out / "vision.safetensors")


def main() -> None:
    """Run both pre-trainings and save their weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=assets())
    parser.add_argument("--steps", type=int, help="optimiser steps of each part instead of the defaults")
    parser.add_argument("--images", type=int, default=6000, help="phantoms to pre-train on")
    parser.add_argument("--only", choices=("language", "vision"), help="pre-train one of the two")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for part, pretrain, steps in (("language", pretrain_language, 500), ("vision", pretrain_vision, 1200)):
        if options.only in (None, part):
            torch.manual_seed(0)
            pretrain(options.out, options.steps or steps, options.images)


def _save(model: nn.Module, file: Path) -> None:
    state = {name: value.detach().half().contiguous() for name, value in model.named_parameters()}
    save_file(state, file)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
