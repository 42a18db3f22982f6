"""Kill a run at every kind of moment, give the same command again each time, and compare with a run left alone.

    python tests/training/kills.py            # one process
    python tests/training/kills.py 2          # two ranks
    python tests/training/kills.py 2 fsdp     # that have a part of the weights each

Losses, weights, matches, answers and results must be equal, and no process may be left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, model_config, parse
from medgraph.console import user_errors
from medgraph.evaluation.predictions import PredictionWriter
from medgraph.training.logging import read_metrics
from medgraph.training.module import StageModule
from medgraph.training.run import run

STEPS = 16
FILES = ("predictions.jsonl", "results.json", "matches.json", "candidates.json", "samples.json", "validation.jsonl")


class NoisyHead(ExGraHead):
    """Also draws from the global random state, as dropout does."""

    def forward(self, nodes: Any) -> Any:
        output = super().forward(nodes)
        output.loss = output.loss * (1 + 0.1 * torch.rand(()))
        return output


def configure(root: Path, workers: int, ranks: int, strategy: str) -> ExperimentConfig:
    """Seven batches an epoch, two of them a step: the last step of an epoch has one."""
    config = ExperimentConfig(
        name="kills",
        data=PhantomConfig(num_train=28, num_task=8, num_val=4, num_test=4, num_ood=4),
        model=model_config("tiny", weights="random"),
        stage1=StageConfig(steps=2, batch_size=4 // ranks),
        stage2=StageConfig(steps=STEPS, batch_size=4 // ranks, accumulate=2, alpha=1.0, queue=6),
        stage3=StageConfig(steps=3, batch_size=4 // ranks),
    )
    options = ("trainer.checkpoint_every=3", "trainer.log_every=1", "trainer.accelerator=cpu", "eval.batch_size=5",
               "eval.limit=12", f"trainer.num_workers={workers}", f"trainer.devices={ranks}",
               f"trainer.strategy={strategy}")  # fmt: skip
    return parse(config, [f"run.root={root}", "run.name=r", *options])


def at(owner: Any, name: str, here: Callable[..., bool], after: bool = False, number: int = signal.SIGKILL) -> None:
    """Send this process a signal at the first call of a function for whose arguments `here` is true."""
    whole, sent = getattr(owner, name), []

    def watched(*arguments: Any, **options: Any) -> Any:
        hit = not sent and here(*arguments)
        result = whole(*arguments, **options) if after or not hit else None
        if hit:
            sent.append(True)
            os.kill(os.getpid(), number)
        return result if after or not hit else whole(*arguments, **options)

    setattr(owner, name, watched)


def in_batch(step: int, odd: bool = False, number: int = signal.SIGKILL) -> Callable[[], None]:
    return lambda: at(
        StageModule,
        "training_step",
        lambda self, batch, index: self.steps == STEPS and self.global_step == step and index % 2 >= odd,
        number=number,
    )


def in_validation(step: int, number: int = signal.SIGKILL) -> Callable[[], None]:
    return lambda: at(
        StageModule,
        "validation_step",
        lambda self, batch, index: self.steps == STEPS and self.global_step >= step and index == 1,
        number=number,
    )


def renaming(ending: str, after: bool = False) -> Callable[[], None]:
    return lambda: at(os, "replace", lambda source, target: str(target).endswith(ending), after)


def half_an_answer() -> None:
    """Die when some answers of a batch are written, the last of them in part."""
    whole = PredictionWriter.write

    def torn(self: PredictionWriter, predictions: Any) -> None:
        if len(self.done) >= 10:
            whole(self, predictions[:2])
            self._file.write('{"id": "torn')
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, predictions)

    PredictionWriter.write = torn  # type: ignore[method-assign]


def in_batch_under_slurm(step: int) -> Callable[[], None]:
    """The signal before the time limit, in a job that is put back into the queue by the program ``./scontrol``."""

    def arm() -> None:
        program = Path("scontrol")
        program.write_text('#!/bin/sh\necho "$@" >> requeued\n')
        program.chmod(0o755)
        job = dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
        job |= dict.fromkeys(("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES"), "1")
        os.environ.update(job, SLURM_JOB_ID="7", PATH=f".:{os.environ['PATH']}")
        in_batch(step, number=signal.SIGUSR1)()

    return arm


TERM = signal.SIGTERM
MOMENTS: dict[str, Callable[[], None]] = {
    "kill -9 before the first checkpoint": in_batch(1),
    "kill -9 between the two batches of a step": in_batch(5, odd=True),
    "kill -9 between writing a checkpoint and naming it": renaming("stage2/step=6.ckpt"),
    "kill -9 right after a checkpoint": renaming("stage2/step=6.ckpt", after=True),
    "SIGTERM in a batch": in_batch(7, number=TERM),
    "SIGUSR1 under SLURM": in_batch_under_slurm(8),
    "SIGTERM between the two batches of a step": in_batch(10, odd=True, number=TERM),
    "SIGTERM in a validation": in_validation(12, number=TERM),
    "kill -9 in a validation": in_validation(13),
    "SIGINT in a batch": in_batch(14, number=signal.SIGINT),
    "kill -9 in the last step of a stage": in_batch(STEPS - 1),
    "SIGTERM in the last validation of a stage": in_validation(STEPS, number=TERM),
    "kill -9 while a stage's weights are written": renaming("stage2/weights.safetensors"),
    "kill -9 between two stages": renaming("stage2/weights.safetensors", after=True),
    "kill -9 between answers": half_an_answer,
    "kill -9 while the results are written": renaming("results.json"),
    "kill -9 while the report is written": lambda: at(Path, "write_text", lambda file, *_: file.name == "report.html"),
    "not at all": lambda: None,
}
OF_TWO_RANKS: dict[str, tuple[int, Callable[[], None]]] = {
    "kill -9 of rank 1 in a batch": (1, in_batch(4)),
    "kill -9 of rank 0 right after a checkpoint": (0, renaming("stage2/step=6.ckpt", after=True)),
    "SIGTERM to rank 1 between the two batches of a step": (1, in_batch(9, odd=True, number=TERM)),
    "kill -9 of rank 0 while a stage's weights are written": (0, renaming("stage2/weights.safetensors")),
    "not at all": (0, lambda: None),
}
CODES = {"kill -9": -signal.SIGKILL, "SIGTERM": 143, "SIGUSR1": 143, "SIGINT": 130, "not at all": 0}


def start(root: Path, moment: Callable[[], None], workers: int, rank: int, ranks: int, strategy: str, port: int) -> int:
    """Start the command in a process and group of its own, as torchrun starts several ranks; return its id."""
    if pid := os.fork():
        return pid
    os.setpgid(0, 0)
    os.chdir(root)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if ranks > 1:
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in world.items()})
        os.environ.update(TORCHELASTIC_RUN_ID="kills", MASTER_ADDR="127.0.0.1")
    code: Any = 1
    try:
        moment()
        with user_errors():
            run(configure(root, workers, ranks, strategy), alignment=NoisyHead(edge_weight=0.1, edge_warmup=5))
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def losses(folder: Path) -> list[dict[str, Any]]:
    """The curve without what depends on the speed of the machine."""
    lines = [
        {key: value for key, value in line.items() if not key.endswith(("_per_sec", "_seconds"))}
        for line in read_metrics(folder / "metrics.jsonl")
    ]
    return [line for line in lines if len(line) > 3]


def differences(folder: Path, other: Path) -> list[str]:
    """What is not the same in two runs."""
    found = [] if losses(folder) == losses(other) else ["losses"]
    found += [name for name in FILES if (folder / name).read_bytes() != (other / name).read_bytes()]
    for file in sorted(folder.glob("stage*/*.safetensors")):
        mine, theirs = load_file(file), load_file(other / file.relative_to(folder))
        if mine.keys() != theirs.keys() or not all(torch.equal(mine[name], theirs[name]) for name in mine):
            found.append(str(file.relative_to(folder)))
    compute = [json.loads((each / "compute.json").read_text()) for each in (folder, other)]
    if [{**stage, "seconds": 0} for stage in compute[0].values()] != [
        {**stage, "seconds": 0} for stage in compute[1].values()
    ]:
        found.append("compute.json")
    return found


def alive(group: int) -> bool:
    """Whether a group has processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def chain(root: Path, ranks: int, strategy: str) -> list[str]:
    """Print the log; return what went wrong."""
    alone, killed = root / "alone", root / "killed"
    for each in (alone, killed):
        each.mkdir(parents=True)
    moments = {name: (0, moment) for name, moment in MOMENTS.items()} if ranks == 1 else OF_TWO_RANKS
    attempts = [("left alone", 0, alone, MOMENTS["not at all"], 0)]
    attempts += [(name, rank, killed, moment, 2) for name, (rank, moment) in moments.items()]
    wrong, groups = [], []
    for name, chosen, folder, moment, workers in attempts:
        clock, port = time.perf_counter(), free_port()
        mine = [
            start(folder, moment if rank == chosen else MOMENTS["not at all"], workers, rank, ranks, strategy, port)
            for rank in range(ranks)
        ]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in mine]
        groups += mine
        print(f"{name}: exit code {', '.join(map(str, codes))} after {time.perf_counter() - clock:.0f} s", flush=True)
        speaks = chosen if name.startswith("kill -9") else 0
        if codes[speaks] != next((code for start, code in CODES.items() if name.startswith(start)), 0):
            wrong.append(f"{name}: exit code {codes}")
    deadline = time.monotonic() + 30  # loader processes look every 5 s whether their parent lives
    while any(map(alive, groups)) and time.monotonic() < deadline:
        time.sleep(0.5)
    wrong += ["processes are left behind"] if any(map(alive, groups)) else []
    wrong += [f"{file} is left behind" for file in killed.glob("**/*.ckpt*")]
    if ranks == 1 and (killed / "requeued").read_text() != "requeue 7\n":
        wrong.append("the job was not put back into the queue")
    if not wrong:
        wrong = [f"{part} differ" for part in differences(alone / "kills" / "r", killed / "kills" / "r")]
    lines = len(losses(killed / "kills" / "r"))
    equal = f"equal bit for bit: {lines} lines of the loss curve, all weights, compute.json, {', '.join(FILES)}"
    print("\n".join(wrong) or f"{equal}; no process is left", flush=True)
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ranks", type=int, nargs="?", default=1)
    parser.add_argument("strategy", nargs="?", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failures = chain(Path(folder), args.ranks, args.strategy)
    sys.exit(bool(failures))
