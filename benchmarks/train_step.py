"""Measure the passes of a training step: one packed pass against three padded ones, and the loss on supervised tokens.

    python benchmarks/train_step.py [--sizes 4 6 16] [--rounds 7] [--json] [--check]

A LLaMA of 6 layers and width 384 reads, for every sample, a conversation (256 image tokens and about 250 of text), an
answer (150) and an extended answer (200), with lognormal lengths. One thread, CPU time, alternatives in turn, medians
of the ratios of each round. ``--check`` exits with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from medgraph.models.packing import packed_hidden_states

WIDTH, LAYERS, HEADS, IMAGE_TOKENS = 384, 6, 6, 256
TEXT_LENGTHS, SPREAD = (
    (250, 150, 200),
    0.35,
)  # mean tokens of conversation, answer, extended answer; sigma of their logs
PACKED_BARS = {4: 0.88, 6: 0.85, 16: 0.72}  # time of the packed pass over that of three padded passes
GRADIENT_BAR = 1e-5  # largest difference of a gradient over the largest gradient
TOKENS, SUPERVISED, VOCABULARY = 2000, 0.34, 32000
LOSS_TIME_BAR, LOSS_MEMORY_BAR = 0.45, 0.35  # loss on supervised tokens over loss on all logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(PACKED_BARS), metavar="B")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [*(measure_passes(size, args.rounds) for size in args.sizes), measure_loss(args.rounds)]
    print(json.dumps(rows, indent=2) if args.json else "\n".join(map(show, rows)))
    missed = [bar for row in rows for bar, met in row["bars"].items() if not met]
    if args.check and missed:
        sys.exit("missed: " + "; ".join(missed))


def measure_passes(size: int, rounds: int) -> dict[str, Any]:
    """Forward and backward through the decoder, with the same loss on all final states."""
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=WIDTH * 8 // 3, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        vocab_size=2000, initializer_range=WIDTH**-0.5,
    )  # fmt: skip
    decoder = LlamaForCausalLM(config).get_decoder()
    masks = []
    for kind, length in enumerate(TEXT_LENGTHS):
        lengths = (length * torch.exp(SPREAD * torch.randn(size) - SPREAD**2 / 2)).long().clamp(min=2)
        lengths += IMAGE_TOKENS if kind == 0 else 0
        masks.append(torch.arange(int(lengths.max())) < lengths.unsqueeze(1))
    embeds = [torch.randn(*mask.shape, WIDTH) for mask in masks]
    weights = [torch.randn(int(mask.sum()), WIDTH) for mask in masks]

    def padded() -> list[Tensor]:
        return [
            decoder(inputs_embeds=x, attention_mask=mask.long(), use_cache=False).last_hidden_state
            for x, mask in zip(embeds, masks, strict=True)
        ]

    def gradients(states: Callable[[], list[Tensor]]) -> list[Tensor]:
        hidden = states()
        loss = sum((h[mask] * w).sum() for h, mask, w in zip(hidden, masks, weights, strict=True))
        return list(torch.autograd.grad(loss, list(decoder.layers.parameters())))  # type: ignore[arg-type]

    alternatives = {
        "padded": lambda: gradients(padded),
        "packed": lambda: gradients(lambda: packed_hidden_states(decoder, embeds, masks)),
    }
    theirs, ours = (call() for call in alternatives.values())
    scale = max(g.abs().max() for g in theirs)
    difference = max(((a - b).abs().max() / scale).item() for a, b in zip(ours, theirs, strict=True))
    seconds = interleave(rounds, alternatives)
    ratio = statistics.median(b / a for a, b in zip(seconds["padded"], seconds["packed"], strict=True))
    bars = {f"gradients differ by {difference:.1e} at B = {size}, bar {GRADIENT_BAR:.0e}": difference <= GRADIENT_BAR}
    if size in PACKED_BARS:
        bars[f"packed / padded {ratio:.2f} at B = {size}, bar {PACKED_BARS[size]}"] = ratio <= PACKED_BARS[size]
    real = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    return {
        "what": f"passes, B = {size}",
        "padded_seconds": statistics.median(seconds["padded"]),
        "packed_seconds": statistics.median(seconds["packed"]),
        "packed_over_padded": ratio,
        "real_over_padded_tokens": real,
        "gradient_difference": difference,
        "bars": bars,
    }


def measure_loss(rounds: int) -> dict[str, Any]:
    """Cross entropy of 2000 tokens, a third of them supervised, over 32000 words: forward and backward."""
    head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False)
    hidden = torch.randn(TOKENS, WIDTH, requires_grad=True)
    labels = torch.where(torch.rand(TOKENS) < SUPERVISED, torch.randint(VOCABULARY, (TOKENS,)), -100)

    def all_logits() -> Tensor:
        return F.cross_entropy(head(hidden).float(), labels)

    def supervised_only() -> Tensor:  # as MedVLM.lm_loss does
        chosen = labels != -100
        return F.cross_entropy(head(hidden[chosen]).float(), labels[chosen])

    def step(loss: Callable[[], Tensor]) -> None:
        torch.autograd.grad(loss(), [hidden, head.weight])

    torch.testing.assert_close(all_logits(), supervised_only())
    alternatives = {"all": lambda: step(all_logits), "supervised": lambda: step(supervised_only)}
    seconds = interleave(rounds, alternatives)
    time_ratio = statistics.median(b / a for a, b in zip(seconds["all"], seconds["supervised"], strict=True))
    memory = {name: peak_memory(call) for name, call in alternatives.items()}
    memory_ratio = memory["supervised"] / memory["all"]
    return {
        "what": "loss on supervised tokens",
        "all_seconds": statistics.median(seconds["all"]),
        "supervised_seconds": statistics.median(seconds["supervised"]),
        "time_ratio": time_ratio,
        "all_megabytes": memory["all"] / 1e6,
        "supervised_megabytes": memory["supervised"] / 1e6,
        "memory_ratio": memory_ratio,
        "bars": {
            f"loss time ratio {time_ratio:.2f}, bar {LOSS_TIME_BAR}": time_ratio <= LOSS_TIME_BAR,
            f"loss memory ratio {memory_ratio:.2f}, bar {LOSS_MEMORY_BAR}": memory_ratio <= LOSS_MEMORY_BAR,
        },
    }


def interleave(rounds: int, alternatives: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """CPU seconds of each call, alternatives in turn, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for number in range(rounds + 1):
        for name, call in alternatives.items():
            start = time.process_time()
            call()
            if number:
                seconds[name].append(time.process_time() - start)
    return seconds


def peak_memory(call: Callable[[], Any]) -> int:
    """Largest sum of live allocations by torch operators during a call, in bytes."""
    live = peak = 0
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def show(row: dict[str, Any]) -> str:
    """One row as text."""
    figures = ", ".join(f"{k} {v:.3g}" for k, v in row.items() if isinstance(v, float))
    missed = "".join(f"\n  MISSED: {bar}" for bar, met in row["bars"].items() if not met)
    return f"{row['what']}: {figures}{missed}"


if __name__ == "__main__":
    main()
