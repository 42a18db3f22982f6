"""Measure what a training step of stage 2 is made of.

    python benchmarks/train_step.py [--rounds 5] [--only passes loss texts trainer] [--json] [--check]

passes   conversation, answer and extended answer in one packed pass against three padded ones, decoder only
loss     cross entropy of 2000 tokens, a third of them supervised, over 32,000 words: all logits against chunks
texts    the step with text nodes of all kinds against the one without alignment, and what alignment costs besides
trainer  a step under Lightning against a bare loop

Forward and backward, one thread, CPU time, alternatives in turn, medians of the ratios of each round. Random weights
and batches (benchmarks/tiny_llava.py): a LLaMA of width 384 with 1 layer for ``passes`` (all layers cost the same), 4
for ``texts`` and 2 for ``trainer``; 256 image tokens, texts of lognormal lengths. ``--check`` exits with 1 if a bar is
missed.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightning as L
import tiny_llava
import torch
from common import Bar, Row, finish, interleave, options, peak_memory, ratio
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from medgraph.alignment.head import AlignmentInput, NodeSet
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.config import StageConfig
from medgraph.data.collate import ConversationBatch
from medgraph.data.layout import Layout
from medgraph.models.loss import LogitRule, chunked_cross_entropy
from medgraph.models.medvlm import MedVLM
from medgraph.models.packing import packed_hidden_states
from medgraph.models.text_nodes import read_batch
from medgraph.training.logging import quiet
from medgraph.training.module import StageModule

PACKED_BARS = {4: 0.88, 6: 0.85, 16: 0.72}  # time of the packed pass over that of three padded passes
GRADIENT_BAR = 1e-5  # largest difference of a gradient over the largest gradient
TOKENS, SUPERVISED, VOCABULARY = 2000, 0.34, 32000
LOSS_TIME_BAR, LOSS_MEMORY_BAR = 0.45, 0.35  # chunks of supervised tokens over all logits
TEXTS_SIZE, ALIGNMENT_BAR = 4, 0.03  # batch; alignment outside the language model over the step
TRAINER_SIZE, TRAINER_STEPS, TRAINER_BAR = 2, 3, 1.05


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    args = parser.parse_args()
    quiet()
    finish(args, (row for part in args.only for row in PARTS[part](args.rounds)))


def measure_passes(rounds: int) -> Iterator[Row]:
    for size, bar in PACKED_BARS.items():
        yield measure_pass(size, bar, rounds)


def measure_pass(size: int, bar: float, rounds: int) -> Row:
    """Forward and backward through the decoder, with the same loss on all final states."""
    torch.manual_seed(size)
    decoder: Any = tiny_llava.make_model(1).llm.get_decoder()
    kinds = [tiny_llava.make_lengths(mean, size) for mean in tiny_llava.MEANS.values()]
    kinds[0] += tiny_llava.IMAGE_TOKENS
    masks = [torch.arange(int(lengths.max())) < lengths.unsqueeze(1) for lengths in kinds]
    embeds = [torch.randn(*mask.shape, tiny_llava.WIDTH) for mask in masks]
    weights = [torch.randn(int(mask.sum()), tiny_llava.WIDTH) for mask in masks]
    layouts = [Layout.of(mask) for mask in masks]

    def padded() -> list[Tensor]:
        return [
            decoder(inputs_embeds=x, attention_mask=mask.long(), use_cache=False).last_hidden_state
            for x, mask in zip(embeds, masks, strict=True)
        ]

    def gradients(states: Callable[[], list[Tensor]]) -> tuple[Tensor, ...]:
        hidden = states()
        loss = sum((h[mask] * w).sum() for h, mask, w in zip(hidden, masks, weights, strict=True))
        return torch.autograd.grad(loss, list(decoder.layers.parameters()))  # type: ignore[arg-type]

    variants = {
        "padded": lambda: gradients(padded),
        "packed": lambda: gradients(lambda: packed_hidden_states(decoder, embeds, layouts)),
    }
    theirs, ours = (call() for call in variants.values())
    scale = max(g.abs().max() for g in theirs)
    difference = max(((a - b).abs().max() / scale).item() for a, b in zip(ours, theirs, strict=True))
    seconds = interleave(variants, rounds, warmup=False)
    figures = {
        **medians(seconds),
        "packed / padded": ratio(seconds, "packed", "padded"),
        "real / padded tokens": sum(len(w) for w in weights) / sum(mask.numel() for mask in masks),
        "gradient difference": difference,
    }
    bars = [
        Bar("packed / padded", figures["packed / padded"], bar),
        Bar("difference of a gradient", difference, GRADIENT_BAR),
    ]
    return Row(f"passes, B = {size}", figures, bars)


def measure_loss(rounds: int) -> Iterator[Row]:
    """Time and memory of the loss with its gradients."""
    torch.manual_seed(0)
    head = torch.nn.Linear(tiny_llava.WIDTH, VOCABULARY, bias=False)
    hidden = torch.randn(TOKENS, tiny_llava.WIDTH, requires_grad=True)
    labels = torch.where(torch.rand(TOKENS) < SUPERVISED, torch.randint(VOCABULARY, (TOKENS,)), -100)
    chosen = (labels != -100).nonzero().squeeze(1)

    def chunked(tokens: int) -> Tensor:
        given = hidden.index_select(0, chosen), head.weight, None, labels[chosen]
        return chunked_cross_entropy(*given, LogitRule(), tokens * VOCABULARY)

    losses = {
        "all logits": lambda: F.cross_entropy(head(hidden).float(), labels),
        "supervised": lambda: F.cross_entropy(head(hidden.index_select(0, chosen)).float(), labels[chosen]),
        "one chunk": lambda: chunked(TOKENS),
        "chunks of 128": lambda: chunked(128),
    }
    for loss in losses.values():
        torch.testing.assert_close(loss(), losses["all logits"]())
    variants = {name: partial(backward, loss, [hidden, head.weight]) for name, loss in losses.items()}
    seconds = interleave(variants, rounds)
    memory = {name: peak_memory(call) for name, call in variants.items()}
    for name in variants:
        time_ratio, memory_ratio = ratio(seconds, name, "all logits"), memory[name] / memory["all logits"]
        figures = {"seconds": statistics.median(seconds[name]), "megabytes": memory[name] / 1e6,
                   "time / all logits": time_ratio, "memory / all logits": memory_ratio}  # fmt: skip
        bars = [Bar("time / all logits", time_ratio, LOSS_TIME_BAR),
                Bar("memory / all logits", memory_ratio, LOSS_MEMORY_BAR)]  # fmt: skip
        yield Row(f"loss, {name}", figures, bars if "chunk" in name else [])


def backward(loss: Callable[[], Tensor], inputs: list[Tensor]) -> None:
    torch.autograd.grad(loss(), inputs)


def measure_texts(rounds: int) -> Iterator[Row]:
    """The step with every kind of text nodes, and its part outside the language model."""
    torch.manual_seed(0)
    vlm, batch, head = tiny_llava.make_model(4), tiny_llava.make_batch(TEXTS_SIZE), make_head()
    sources = ("packed", "pooled", "frozen", "truncated")

    def step(source: str | None) -> None:
        vlm.text_source = source or "packed"
        train(vlm, head if source else None, batch).backward()

    nodes = {view: torch.randn(TEXTS_SIZE, tiny_llava.WIDTH, requires_grad=True) for view in ("image", *batch.texts)}

    def alignment() -> None:
        texts = {view: NodeSet(x) for view, x in nodes.items() if view != "image"}
        head(AlignmentInput(NodeSet(nodes["image"]), texts, torch.Generator().manual_seed(0))).loss.backward()

    variants = {"none": lambda: step(None), "alignment": alignment}
    variants |= {source: partial(step, source) for source in sources}
    seconds = interleave(variants, rounds)
    for source in sources:
        figures = {"seconds": statistics.median(seconds[source]), "step / without": ratio(seconds, source, "none"),
                   "step / packed": ratio(seconds, source, "packed")}  # fmt: skip
        yield Row(f"texts, B = {TEXTS_SIZE}, {source}", figures)
    share = ratio(seconds, "alignment", "packed")
    yield Row(f"alignment outside the language model, B = {TEXTS_SIZE}",
              {"seconds": statistics.median(seconds["alignment"]), "share of the packed step": share},
              [Bar("share of the packed step", share, ALIGNMENT_BAR)])  # fmt: skip


def make_head() -> ExGraHead:
    head = ExGraHead()
    head.setup(tiny_llava.WIDTH)
    return head


def train(vlm: MedVLM, head: ExGraHead | None, batch: ConversationBatch) -> Tensor:
    """The loss of a step: language modelling, plus alignment where there is a head."""
    image_tokens = vlm.encode_images(batch.images)
    hidden, nodes = read_batch(vlm, image_tokens, {"lm": batch.lm}, batch.texts if head else {}, batch.text_ids)
    loss = vlm.lm_loss(hidden["lm"], batch.lm)
    if head is None:
        return loss
    images = vlm.image_nodes(image_tokens, batch.image_ids)
    return loss + head(AlignmentInput(images, nodes, torch.Generator().manual_seed(0))).loss


def measure_trainer(rounds: int) -> Iterator[Row]:
    """Steps under Lightning, without files of logs, against a loop of forward, backward, clipping and optimiser."""
    torch.manual_seed(0)
    batches = [tiny_llava.make_batch(TRAINER_SIZE) for _ in range(TRAINER_STEPS)]
    stage = StageConfig(steps=TRAINER_STEPS, batch_size=TRAINER_SIZE, lr=1e-4, train=["projector", "llm"], alpha=1.0)
    vlm, head, watch = tiny_llava.make_model(2), make_head(), Stopwatch()

    def bare() -> None:
        parameters = [p for p in (*vlm.parameters(), *head.parameters()) if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, stage.lr)
        watch.start()
        for batch in batches:
            optimizer.zero_grad()
            train(vlm, head, batch).backward()
            torch.nn.utils.clip_grad_norm_(parameters, stage.grad_clip)
            optimizer.step()
        watch.stop()

    def trainer() -> None:
        L.Trainer(
            accelerator="cpu", max_steps=TRAINER_STEPS, gradient_clip_val=stage.grad_clip, callbacks=[watch],
            logger=False, limit_val_batches=0, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False,
        ).fit(StageModule(vlm, head, stage, TRAINER_STEPS, 0, 8), DataLoader(batches, batch_size=None))  # fmt: skip

    seconds = interleave({"bare": bare, "trainer": trainer}, rounds, lambda: watch.seconds)
    overhead = ratio(seconds, "trainer", "bare")
    yield Row(f"trainer, B = {TRAINER_SIZE}",
              {name: value / TRAINER_STEPS for name, value in medians(seconds).items()} | {"trainer / bare": overhead},
              [Bar("trainer / bare", overhead, TRAINER_BAR)])  # fmt: skip


class Stopwatch(L.Callback):
    """CPU seconds from the first batch of a fit to its end."""

    seconds = began = 0.0

    def start(self) -> None:
        """Go on."""
        self.began = time.process_time()

    def stop(self) -> None:
        """Stand still."""
        self.seconds += time.process_time() - self.began

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start."""
        self.start()

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        self.stop()


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {f"{name} seconds": statistics.median(values) for name, values in seconds.items()}


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "passes": measure_passes, "loss": measure_loss, "texts": measure_texts, "trainer": measure_trainer,
}  # fmt: skip

if __name__ == "__main__":
    main()
