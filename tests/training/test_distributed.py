"""Two ranks compute what one process computes: DDP and FSDP2 on the CPU, in the curve, the weights and the answers.

The ranks are forks of the test (nothing is imported twice) that find the environment of torchrun; one test takes the
command line and Lightning's own launcher. ``pytest -rP`` prints the differences.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, head_config, model_config, parse, run_dir
from medgraph.training.evaluate import evaluate
from medgraph.training.interrupts import Interrupts
from medgraph.training.logging import quiet, read_metrics
from medgraph.training.module import StageModule
from medgraph.training.prepare import complete, prepare
from medgraph.training.ranks import start
from medgraph.training.stages import train_stages

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
SECONDS = 300
"""A hanging rank is killed after this."""
FSDP = ("trainer.strategy=fsdp",)
SHARDED = (*FSDP, "trainer.sharded_checkpoints=true")
HALF = ("stage1.batch_size=2", "stage2.batch_size=2", "trainer.devices=2")


def small(root: Path, name: str, *arguments: str) -> ExperimentConfig:
    """Two stages with everything in them that ranks could disagree about; the projector and then all parts train."""
    config = ExperimentConfig(
        name="ranks",
        data=PhantomConfig(num_train=12, num_task=4, num_val=5, num_test=3, num_ood=2),
        model=model_config("tiny", weights="random"),
        alignment=head_config("exgra", edge_weight=0.1),
        stage1=StageConfig(steps=1, batch_size=4),
        stage2=StageConfig(steps=4, batch_size=4, alpha=1.0, queue=6, accumulate=2, extended_lm=True),
        stage3=StageConfig(steps=0),
    )
    fixed = (
        "trainer.accelerator=cpu trainer.log_every=1 trainer.progress=false",
        "eval.batch_size=2 eval.limit=5 eval.controls=false",
    )
    return parse(config, [f"run.root={root}", f"run.name={name}", *" ".join(fixed).split(), *arguments])


def train(config: ExperimentConfig, answers: bool = False) -> Path:
    """The middle of a run, without report."""
    quiet()
    config = complete(config)
    start(config.trainer)
    folder = run_dir(config)
    folder.mkdir(parents=True, exist_ok=True)
    study = prepare(config, None, None)
    train_stages(study.config, study.vlm, study.head, study.stages, folder, Console(quiet=True), Interrupts())
    if answers:
        evaluate(study.config, study.vlm, study.corpus, study.tokens, study.images, folder, torch.device("cpu"))
    return folder


def on_ranks(function: Callable[[], object], count: int = 2) -> list[int]:
    """Run a function in forks that believe torchrun has started them; exit codes by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def work(rank: int) -> None:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    ranks = [multiprocessing.get_context("fork").Process(target=work, args=(rank,)) for rank in range(count)]
    for process in ranks:
        process.start()
    try:
        for process in ranks:
            process.join(SECONDS)
    finally:
        for process in ranks:
            process.kill()
            process.join()
    return [process.exitcode or 0 for process in ranks]


def curve(folder: Path) -> list[dict]:
    lines = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.endswith(("_per_sec", "_seconds"))} for line in lines]


def differences(found: Path, expected: Path) -> dict[str, float]:
    """Largest relative differences of a loss, and of the trained weights of a stage (by their norm).

    The biases of keys have no gradient but rounding errors (softmax does not see them), which Adam blows up to steps of
    full length: they differ, and change nothing.
    """
    ours, theirs = curve(found), curve(expected)
    assert [set(line) for line in ours] == [set(line) for line in theirs]
    losses = [
        abs(a[key] - b[key]) / max(abs(b[key]), 1e-3)
        for a, b in zip(ours, theirs, strict=True)
        for key in ("train/loss", "train/lm", "train/lm_extended", "train/align", "val/accuracy")
        if key in b
    ]
    weights = []
    for file in sorted(expected.glob("stage*/*.safetensors")):
        state, wanted = load_file(found / file.relative_to(expected)), load_file(file)
        assert state.keys() == wanted.keys()
        names = [name for name in wanted if not name.endswith("k_proj.bias")]
        a, b = (torch.cat([values[name].double().flatten() for name in names]) for values in (state, wanted))
        weights.append(float((a - b).norm() / b.norm()))
    return {"losses": max(losses), "weights": max(weights)}


def check(found: Path, expected: Path, what: str) -> None:
    worst = differences(found, expected)
    print(f"{what}: largest relative difference of losses {worst['losses']:.1e}, of weights {worst['weights']:.1e}")
    assert worst["losses"] < 1e-5, what
    assert worst["weights"] < 1e-5, what


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """One process with the joint batch."""
    root = tmp_path_factory.mktemp("ranks")
    assert on_ranks(lambda: train(small(root, "one"), answers=True), count=1) == [0]
    return root / "ranks" / "one"


@pytest.mark.slow
def test_ddp_on_two_ranks_is_one_process(one, tmp_path):
    """Uneven texts, accumulation, clipping, both losses, memory; five questions to validate; batches of answers."""
    assert on_ranks(lambda: train(small(tmp_path, "two", *HALF), answers=True)) == [0, 0]
    found = tmp_path / "ranks" / "two"
    check(found, one, "DDP")
    assert (found / "predictions.jsonl").read_bytes() == (one / "predictions.jsonl").read_bytes()
    assert (found / "results.json").read_bytes() == (one / "results.json").read_bytes()
    compute = [json.loads((folder / "compute.json").read_text())["stage2"] for folder in (found, one)]
    assert compute[0]["images"] == compute[1]["images"]
    assert compute[0]["tokens"] == compute[1]["tokens"]


@pytest.mark.slow
def test_fsdp_on_two_ranks_is_one_process(one, tmp_path):
    """With blocks that compute their activations again, and answers of another length on every rank."""

    def uneven() -> None:
        whole = StageModule.validation_step

        def validate(self, batch, batch_idx):
            self.max_new_tokens = 3 + 6 * self.global_rank
            return whole(self, batch, batch_idx)

        StageModule.validation_step = validate  # type: ignore[method-assign]
        train(small(tmp_path, "two", *HALF, *FSDP, "trainer.checkpointing=full"))

    assert on_ranks(uneven) == [0, 0]
    check(tmp_path / "ranks" / "two", one, "FSDP2")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [(), FSDP], ids=["ddp", "fsdp"])
def test_adapters_on_two_ranks_are_those_of_one_process(tmp_path, strategy):
    """Beside frozen weights, which are cut into the same shards, and with magnitudes (DoRA), which are vectors."""
    pytest.importorskip("peft")
    adapters = ("model.lora.rank=4", "model.lora.dora=true", "model.lora.parts=[vision,llm]")
    assert on_ranks(lambda: train(small(tmp_path, "one", *adapters)), count=1) == [0]
    assert on_ranks(lambda: train(small(tmp_path, "two", *HALF, *strategy, *adapters))) == [0, 0]
    one, two = (tmp_path / "ranks" / name for name in ("one", "two"))
    check(two, one, " ".join(("adapters", *strategy)))
    names = load_file(two / "stage2" / "weights.safetensors")
    assert all(".lora_" in name or name.startswith("projector.") for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((), HALF, id="one-to-ddp"),
        pytest.param((*HALF, *FSDP), (), id="fsdp-to-one"),
        pytest.param((), (*HALF, *FSDP), id="one-to-fsdp"),
        pytest.param((*HALF, *SHARDED), SHARDED, id="shards-of-two-to-fsdp-alone"),
    ],
)
def test_a_run_continues_on_another_number_of_ranks(one, tmp_path, before, after):
    def cut() -> None:
        whole = StageModule.training_step

        def cut_off(self, batch, batch_idx):
            assert self.global_step < 3
            return whole(self, batch, batch_idx)

        StageModule.training_step = cut_off  # type: ignore[method-assign]
        train(small(tmp_path, "two", *before, "trainer.checkpoint_every=1"))

    assert set(on_ranks(cut, 2 if before[:3] == HALF else 1)) == {1}
    stage = tmp_path / "ranks" / "two" / "stage2"
    assert sorted(file.name for file in stage.glob("*.ckpt")) == ["step=2.ckpt", "step=3.ckpt"]
    count = 2 if after[:3] == HALF else 1
    assert on_ranks(lambda: train(small(tmp_path, "two", *after)), count) == [0] * count
    check(tmp_path / "ranks" / "two", one, "resumed")


@pytest.mark.slow
def test_the_command_line_starts_the_other_rank(tiny_arm, tmp_path):
    """Lightning's launcher; one rank writes and prints, and an error that both find is told once."""

    def lightning(*arguments: str) -> subprocess.CompletedProcess[str]:
        fixed = (f"run.root={tmp_path}", "run.name=cli", "trainer.accelerator=cpu", "trainer.devices=2")
        command = [sys.executable, "-m", "lightning_app", "run", str(tiny_arm), *fixed, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    finished = lightning("stage2.batch_size=2", "trainer.strategy=ddp")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("report: ") == 1
    assert finished.stderr == ""
    refused = lightning("stage2.batch_size=1", "trainer.strategy=ddp")
    assert refused.returncode == 2
    assert refused.stderr.count("error: ") == 1
    assert "stage2.batch_size" in refused.stderr
