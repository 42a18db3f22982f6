"""Train the same tiny LLaVA with MedGraph, with `transformers.Trainer` and with TRL's `SFTTrainer`.

    pip install -e '.[bench]'
    python benchmarks/peers.py [--rounds 7] [--steps 12] [--curve 60] [--json] [--check]

Equal for all three: the model (one exported folder: a CLIP tower, a two-layer projector, a LLaMA; the tower is frozen),
the samples and their order, tokens and supervised tokens, batches of 8, float32, fused AdamW without weight decay, a
constant learning rate, clipping to norm 1, no checkpoints, loading in the training process from images in memory, and
one thread.

Different is what each library does with a batch. The peers are used as their documentation shows: the model's processor
resizes and tokenises, batches are padded to the longest, attention is transformers' default. TRL computes the loss on
supervised tokens only, as MedGraph does; `transformers.Trainer` on all logits. MedGraph packs.

The loss curves come first. Then every library in turn trains ``--steps`` steps from the exported model, again and
again; CPU time of all steps but the first, without building model and trainer. ``mixed`` texts have lognormal lengths
(20 words of question, 120 of answer on average, sigma 0.7), ``equal`` ones all the same number of tokens.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from common import Bar, Row, finish, options

from medgraph.data.conversation import prompt
from medgraph.data.records import Corpus, MATTriplet, Record

SIDE, BATCH, LR, SEED = 64, 8, 1e-3, 0
QUESTION, ANSWER, SPREAD = 20, 120, 0.7  # words; sigma of the logarithm of an answer's length
SPEED_BARS = {"mixed": 1.2, "equal": 1.0}
CURVE_BAR = 1e-3  # largest relative difference of the losses of a step
Samples = Sequence[tuple[Record, np.ndarray]]
WORDS = [a + b + c for a in "blmr" for b in "aeiou" for c in "dnst"]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12, help="steps of a library in a round")
    parser.add_argument("--curve", type=int, default=60, help="steps of the loss curves")
    args = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        finish(args, measure(Path(folder), args.rounds, args.steps, args.curve))


def measure(folder: Path, rounds: int, steps: int, curve: int) -> Iterator[Row]:
    export(folder / "llava")
    for kind in SPEED_BARS:
        samples = make_samples(kind, max(steps, curve) * BATCH)
        losses = {name: np.array(fit(folder, samples[: curve * BATCH], True).losses) for name, fit in LIBRARIES.items()}
        yield compare_curves(kind, losses)
        seconds: dict[str, list[float]] = {name: [] for name in LIBRARIES}
        for _ in range(rounds):
            for name, fit in LIBRARIES.items():
                times = fit(folder, samples[: steps * BATCH], False).times
                seconds[name].append((times[-1] - times[0]) / (len(times) - 1))
        yield compare_speed(kind, seconds)


def compare_curves(kind: str, losses: dict[str, np.ndarray]) -> Row:
    """Largest difference of a step's loss, relative to that of MedGraph."""
    ours = losses["medgraph"]
    gaps = {name: float(np.abs(theirs / ours - 1).max()) for name, theirs in losses.items() if name != "medgraph"}
    return Row(
        f"{kind}: loss of {len(ours)} steps",
        {"first": float(ours[0]), "last": float(ours[-1])} | {f"{name} differs by": gap for name, gap in gaps.items()},
        [Bar(f"{kind}: largest relative difference of {name}", gap, CURVE_BAR) for name, gap in gaps.items()],
    )


def compare_speed(kind: str, seconds: dict[str, list[float]]) -> Row:
    """Samples a second, and medians over the rounds of ours over theirs."""
    rates = {name: BATCH / statistics.median(values) for name, values in seconds.items()}
    gains = {
        name: statistics.median(b / a for a, b in zip(seconds["medgraph"], theirs, strict=True))
        for name, theirs in seconds.items()
        if name != "medgraph"
    }
    return Row(
        f"{kind}: samples a second",
        rates | {f"over {name}": gain for name, gain in gains.items()},
        [Bar(f"{kind}: samples/s over {n}", gain, SPEED_BARS[kind], at_least=True) for n, gain in gains.items()],
    )


# --------------------------------------------------------------------------------------------------------------------
# what is trained


def export(folder: Path) -> None:
    """Make the model and save it in the llava-hf format."""
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

    from medgraph.models.llava_format import export_llava
    from medgraph.models.medvlm import MedVLM
    from medgraph.models.projector import build_projector
    from medgraph.models.tokenizer import train_tokenizer
    from medgraph.models.vision import VisionTower

    torch.manual_seed(SEED)
    tokenizer = train_tokenizer([f"USER: ASSISTANT: {' '.join(WORDS)}"] * 2, 512)
    tower = CLIPVisionConfig(
        hidden_size=96, intermediate_size=192, num_hidden_layers=4, num_attention_heads=4, image_size=SIDE,
        patch_size=16,
    )  # fmt: skip
    llm = LlamaConfig(
        hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6, vocab_size=len(tokenizer),
        initializer_range=192**-0.5, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    vision = VisionTower(CLIPVisionModel(tower), -2)
    export_llava(
        MedVLM(vision, build_projector("mlp2x_gelu", 96, 192), LlamaForCausalLM(llm), tokenizer).eval(), folder
    )


def make_samples(kind: str, count: int) -> Samples:
    """Records with random words, and their (S, S, 3) uint8 images."""
    draw = np.random.default_rng(SEED)
    samples = []
    for number in range(count):
        length = ANSWER * np.exp(SPREAD * draw.standard_normal() - SPREAD**2 / 2) if kind == "mixed" else ANSWER
        question, answer = (" ".join(draw.choice(WORDS, max(1, int(n)))) for n in (QUESTION, length))
        record = Record(
            id=str(number), image_id=str(number), image=str(number), question=question, answer=answer, extended=answer,
            answer_type="open", question_type="words", triplet=MATTriplet("CT", "Lung", "Words"), label="",
            subset="words", group=str(number),
        )  # fmt: skip
        samples.append((record, draw.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)))
    return samples


# --------------------------------------------------------------------------------------------------------------------
# who trains it


@dataclass
class Fit:
    """What a training leaves: the logged loss of every step, and the CPU time when it was done."""

    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def medgraph_fit(folder: Path, samples: Samples, log: bool) -> Fit:
    """Train with `StageModule` under Lightning's trainer, on one epoch of conversations of one turn."""
    import lightning as L

    from medgraph.config import StageConfig
    from medgraph.data.collate import Tokens
    from medgraph.data.datamodule import CorpusDataModule
    from medgraph.data.loading import ImageCache
    from medgraph.models.llava_format import import_llava
    from medgraph.training.module import StageModule

    vlm = import_llava(str(folder / "llava"))
    order = np.random.default_rng((SEED, 0)).permutation(len(samples))  # undoes the order of `EpochSampler`
    records = [samples[place][0] for place in np.argsort(order)]
    pictures = {record.image: image for record, image in samples}
    corpus = Corpus({"train": records, "val": records[:1]}, lambda name, side: pictures[name])
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, 2048)
    data = CorpusDataModule(corpus, "train", tokens, ImageCache(corpus, SIDE), BATCH, SEED)
    stage = StageConfig(batch_size=BATCH, lr=LR, warmup=0.0, train=["projector", "llm"])
    module = StageModule(vlm, None, stage, steps=1 << 40, seed=SEED, max_new_tokens=1)  # cosine decay that never comes
    result = Fit()

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            result.losses.append(float(outputs["loss"]))
            result.times.append(time.process_time())

    trainer = L.Trainer(
        accelerator="cpu", max_steps=len(samples) // BATCH, gradient_clip_val=1.0, callbacks=[Watch()], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return result


def transformers_fit(folder: Path, samples: Samples, log: bool) -> Fit:
    """Train with `transformers.Trainer` and a collator that calls the processor and masks the prompts."""
    from PIL import Image
    from transformers import LlavaProcessor, PrinterCallback, Trainer, TrainingArguments

    processor = LlavaProcessor.from_pretrained(folder / "llava")
    rows = [(prompt(record), f" {record.answer}</s>", Image.fromarray(image)) for record, image in samples]

    def collate(batch: list[tuple[str, str, Any]]) -> Any:
        inputs = processor(
            text=[question + answer for question, answer, _ in batch], images=[image for *_, image in batch],
            padding="longest", padding_side="right", return_tensors="pt",
        )  # fmt: skip
        inputs["labels"] = inputs["input_ids"].clone()
        for row, (_, answer, _) in enumerate(batch):
            supervised = len(processor.tokenizer(answer, add_special_tokens=False)["input_ids"])
            inputs["labels"][row, : int(inputs["attention_mask"][row].sum()) - supervised] = -100
        inputs["labels"][inputs["attention_mask"] == 0] = -100
        return inputs

    arguments = TrainingArguments(**_arguments(folder, len(samples), log))
    result, watch = _watch()
    trainer = Trainer(_whole(folder), arguments, data_collator=collate, train_dataset=rows, callbacks=[watch])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return result


def trl_fit(folder: Path, samples: Samples, log: bool) -> Fit:
    """Train with TRL's `SFTTrainer` and its own collator on prompts and completions."""
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature
    from PIL import Image
    from transformers import LlavaProcessor, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    processor = LlavaProcessor.from_pretrained(folder / "llava")
    rows = Dataset.from_dict(
        {
            "prompt": [f"<s>{prompt(record)}" for record, _ in samples],
            "completion": [f" {record.answer}</s>" for record, _ in samples],
            "image": [Image.fromarray(image) for _, image in samples],
        },
        Features({"prompt": Value("string"), "completion": Value("string"), "image": ImageFeature()}),
    )
    result, watch = _watch()
    trainer = SFTTrainer(
        _whole(folder),
        SFTConfig(**_arguments(folder, len(samples), log), max_length=None),
        train_dataset=rows,
        processing_class=processor,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return result


LIBRARIES: dict[str, Callable[[Path, Samples, bool], Fit]] = {
    "medgraph": medgraph_fit,
    "transformers": transformers_fit,
    "trl": trl_fit,
}


def _whole(folder: Path) -> Any:
    """The exported model with a frozen tower."""
    from transformers import LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder / "llava", dtype=torch.float32)
    model.model.vision_tower.requires_grad_(False)
    return model


def _arguments(folder: Path, count: int, log: bool) -> dict[str, Any]:
    """Options that both of the others have."""
    return {
        "output_dir": str(folder / "out"), "per_device_train_batch_size": BATCH, "max_steps": count // BATCH,
        "learning_rate": LR, "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused", "gradient_checkpointing": False, "bf16": False, "use_cpu": True, "seed": SEED,
        "train_sampling_strategy": "sequential", "remove_unused_columns": False, "logging_steps": 1 if log else count,
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip


def _watch() -> tuple[Fit, Any]:
    from transformers import TrainerCallback

    result = Fit()

    class Watch(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            result.times.append(time.process_time())

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
            if "loss" in logs:
                result.losses.append(float(logs["loss"]))

    return result, Watch()


def quiet() -> None:
    """Keep notices of all libraries away from the table."""
    import logging

    import transformers

    from medgraph.training.logging import quiet as quiet_lightning

    quiet_lightning()
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    for name in ("trl", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
