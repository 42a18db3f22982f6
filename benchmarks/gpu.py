"""Measure training steps on a GPU: tokens a second, MFU, exposed alignment time, host syncs and memory.

    python benchmarks/gpu.py [--size 1b 7b] [--steps 10] [--compile] [--json] [--check]

LLaVA models with random weights, made on the device: CLIP ViT-L/14 (224 px, frozen), a two-layer projector and a LLaMA
of 1 or 7 billion weights in bf16 with fused AdamW; 16 samples a step of 256 image tokens and 250 tokens of text, with
answers of 150 and extended answers of 200 tokens for ExGra-Med (lognormal lengths, sigma 0.35). `StageModule` trains
them under Lightning's trainer. ``--size tiny`` runs everywhere and is the default without CUDA; it shows that the
script runs, and nothing else.

Arms: ``AR``, conversations only; ``ExGra``, conversations, answers and extended answers in one packed pass, with the
matching; ``texts``, the same pass with a head that only averages the nodes. Each with selective checkpointing (with
``--compile``: none) and with full checkpointing.

MFU is the share of the device's dense bf16 peak that the model's own floating-point operations make: for real tokens,
without recomputation,

    6 P n + 6 L D sum(l^2) + 6 D V s + 6 R B N + 2 W B (N + 1)

with P weights of the decoder's L layers of width D, n tokens of sequences of lengths l (causal attention: half of
12 L D l^2), V words, s supervised tokens, R projector weights, B images of N tokens, and W weights of the tower, which
has no backward pass. Exposed alignment time is the step of ``ExGra`` minus that of ``texts``, as a share of the latter.
Host syncs are those that ``torch.cuda.set_sync_debug_mode`` reports in a step, the transfer of the batch included.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightning as L
import torch
from common import Bar, Row, finish, options
from torch import nn
from torch.utils.data import DataLoader

from medgraph.alignment.head import AlignmentHead, AlignmentInput, AlignmentOutput
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.config import StageConfig
from medgraph.data.collate import ConversationBatch, TokenBatch
from medgraph.data.conversation import IGNORE
from medgraph.models.blocks import prepare_blocks
from medgraph.models.medvlm import MedVLM
from medgraph.models.projector import build_projector
from medgraph.models.tokenizer import train_tokenizer
from medgraph.models.vision import VisionTower
from medgraph.training.logging import quiet
from medgraph.training.module import StageModule

PEAKS = {"H100": 989e12, "H200": 989e12, "GH200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}
"""Dense bf16 FLOP/s by a part of the device's name (NVIDIA's data sheets; the SXM boards)."""
TEXT, SPREAD, SUPERVISED = {"lm": 250, "answer": 150, "extended": 200}, 0.35, 0.6
MFU_BARS = {("AR", False): 0.45, ("AR", True): 0.38, ("ExGra", False): 0.44, ("ExGra", True): 0.37}
EXPOSED_BAR, SYNC_BAR = 0.01, 1
WARMUP = 3


@dataclass(frozen=True)
class Size:
    """A model and its batch."""

    llm: dict[str, int]
    tower: dict[str, int]
    batch: int
    scale: float = 1.0  # of the text lengths


CLIP_L = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
          "image_size": 224, "patch_size": 14}  # fmt: skip
SIZES = {
    "tiny": Size(
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "vocab_size": 512},
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
         "image_size": 32, "patch_size": 8}, batch=4, scale=0.1,
    ),
    "1b": Size({"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 16,
                "vocab_size": 32000}, CLIP_L, batch=16),
    "7b": Size({"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
                "vocab_size": 32000}, CLIP_L, batch=16),
}  # fmt: skip


class MeanHead(AlignmentHead):
    """Averages the nodes: a head that costs nothing."""

    def forward(self, nodes: AlignmentInput) -> AlignmentOutput:
        """Sum of the mean nodes."""
        return AlignmentOutput(torch.stack([graph.pooled.mean() for graph in nodes.graphs().values()]).sum())


HEADS: dict[str, type[AlignmentHead] | None] = {"AR": None, "texts": MeanHead, "ExGra": ExGraHead}


def main() -> None:
    parser = options(__doc__)
    default = ["1b", "7b"] if torch.cuda.is_available() else ["tiny"]
    parser.add_argument("--size", nargs="+", choices=SIZES, default=default)
    parser.add_argument("--steps", type=int, default=10, help="measured steps of an arm")
    parser.add_argument("--compile", action="store_true", help="compile the transformer blocks")
    args = parser.parse_args()
    quiet()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    peak = next((peak for part, peak in PEAKS.items() if part in name), None)
    if not args.json:
        print(f"{name}, torch {torch.__version__}; " + (f"peak {peak / 1e12:.0f} TFLOP/s" if peak else "no MFU: the "
              "peak of this device is not known"))  # fmt: skip
    finish(args, (row for size in args.size for row in measure(size, device, peak, args.steps, args.compile)))


def measure(size: str, device: torch.device, peak: float | None, steps: int, compiled: bool) -> Iterator[Row]:
    """All arms of a model size."""
    vlm = build(SIZES[size], device)
    for mode in ("none" if compiled else "selective", "full"):
        prepare_blocks(vlm, mode, compiled)
        seconds: dict[str, float] = {}
        for arm, head in HEADS.items():
            what = f"{size}, {arm}, {mode} checkpointing{', compiled' if compiled else ''}"
            batches = make_batches(SIZES[size], vlm, arm != "AR", 4)
            try:
                figures = train(vlm, head() if head else None, batches, steps, device)
            except torch.OutOfMemoryError:
                yield Row(f"{what}: out of memory", {})
                continue
            seconds[arm] = figures["step_seconds"]
            flops = sum(model_flops(vlm, batch) for batch in batches) / len(batches)
            figures["tflops_per_step"] = flops / 1e12
            bars = []
            if peak:
                figures["mfu"] = flops / seconds[arm] / peak
                if size == "7b" and (bar := MFU_BARS.get((arm, mode == "full"))):
                    bars.append(Bar(f"{what}: MFU", figures["mfu"], bar, at_least=True))
            if arm == "ExGra" and "texts" in seconds:
                figures["exposed_alignment"] = seconds["ExGra"] / seconds["texts"] - 1
            if device.type == "cuda" and arm != "texts":
                bars.append(Bar(f"{what}: host syncs a step", figures["syncs_per_step"], SYNC_BAR))
                if size == "7b" and "exposed_alignment" in figures:
                    bars.append(Bar(f"{what}: exposed alignment", figures["exposed_alignment"], EXPOSED_BAR))
            yield Row(what, figures, bars)


def build(size: Size, device: torch.device) -> MedVLM:
    """A model with random weights, in bf16 on a GPU."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(["a b"], 260)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        with torch.device(device):
            vision = VisionTower(CLIPVisionModel(CLIPVisionConfig(**size.tower)), -2)
            llm = LlamaForCausalLM(LlamaConfig(**size.llm))
            projector = build_projector("mlp2x_gelu", size.tower["hidden_size"], size.llm["hidden_size"])
    finally:
        torch.set_default_dtype(before)
    return MedVLM(vision, projector, llm, tokenizer)


def make_batches(size: Size, vlm: MedVLM, texts: bool, count: int) -> list[ConversationBatch]:
    """Batches of random images and words."""
    torch.manual_seed(0)

    def tokens(kind: str) -> TokenBatch:
        mean, images = size.scale * TEXT[kind], vlm.num_image_tokens if kind == "lm" else 0
        lengths = (mean * torch.exp(SPREAD * torch.randn(size.batch) - SPREAD**2 / 2)).long().clamp(min=2) + images
        place = torch.arange(int(lengths.max()))
        mask = place < lengths.unsqueeze(1)
        ids = torch.randint(4, size.llm["vocab_size"], mask.shape).where(mask, torch.tensor(0))
        ids[:, :images] = vlm.image_token_id
        supervised = mask & (place >= images) & (torch.rand(mask.shape) < SUPERVISED)
        return TokenBatch(ids, mask, ids.where(supervised, torch.tensor(IGNORE)) if kind == "lm" else None)

    views = ("answer", "extended") if texts else ()
    numbers = torch.arange(size.batch)
    side = size.tower["image_size"]
    return [
        ConversationBatch(
            images=torch.randint(256, (size.batch, 3, side, side), dtype=torch.uint8), image_ids=numbers,
            lm=tokens("lm"), lm_extended=None, texts={view: tokens(view) for view in views},
            text_ids=dict.fromkeys(views, numbers), entities={}, ids=[[str(n)] for n in numbers.tolist()],
        )
        for _ in range(count)
    ]  # fmt: skip


def model_flops(vlm: MedVLM, batch: ConversationBatch) -> float:
    """Floating-point operations of a step; the formula is at the top of this file."""
    config: Any = vlm.llm.config
    lengths = torch.cat([tokens.layout.lengths for tokens in (batch.lm, *batch.texts.values())]).double()
    assert batch.lm.supervised is not None
    image_tokens = len(batch.images) * vlm.num_image_tokens
    layers, width = config.num_hidden_layers, config.hidden_size
    return float(
        6 * _weights(vlm.llm.get_decoder().layers) * lengths.sum()  # type: ignore[operator]
        + 6 * layers * width * lengths.square().sum()
        + 6 * width * config.vocab_size * len(batch.lm.supervised)
        + 6 * _weights(vlm.projector) * image_tokens
        + 2 * _weights(vlm.vision) * (image_tokens + len(batch.images))
    )


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class Clock(L.Callback):
    """Times the steps behind the warm-up, then counts the syncs of two more."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.first, self.last, self.cuda = WARMUP, WARMUP + steps, device.type == "cuda"
        self.tokens, self.seconds, self.syncs = 0, 0.0, 0

    def on_train_batch_end(  # noqa: D102
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        if self.first < done <= self.last:
            self.tokens += sum(len(tokens.layout.real) for tokens in (batch.lm, *batch.texts.values()))
        if done in (self.first, self.last):
            if self.cuda:
                torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.seconds
        if done == self.last and self.cuda:
            torch.cuda.set_sync_debug_mode("warn")


def train(
    vlm: MedVLM, head: AlignmentHead | None, batches: list[ConversationBatch], steps: int, device: torch.device
) -> dict[str, float]:
    """Train an arm and read the clock."""
    if head is not None:
        head.setup(vlm.width)
    stage = StageConfig(batch_size=len(batches[0].ids), lr=1e-5, train=["projector", "llm"], alpha=1.0 if head else 0.0)
    module = StageModule(vlm, head, stage, steps=1 << 40, seed=0, max_new_tokens=1)
    clock, cuda = Clock(steps, device), device.type == "cuda"
    module.zero_grad(set_to_none=True)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    trainer = L.Trainer(
        accelerator=device.type, devices=1, precision="bf16-true" if cuda else "32-true", max_steps=clock.last + 2,
        gradient_clip_val=1.0, callbacks=[clock], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    repeated = [batches[step % len(batches)] for step in range(clock.last + 2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            trainer.fit(module, DataLoader(repeated, batch_size=None))
        finally:
            if cuda:
                torch.cuda.set_sync_debug_mode("default")
    figures = {"step_seconds": clock.seconds / steps, "tokens_per_second": clock.tokens / clock.seconds}
    if cuda:
        figures["syncs_per_step"] = sum("synchronizing" in str(warning.message) for warning in caught) / 2
        figures["peak_gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    return figures


if __name__ == "__main__":
    main()
