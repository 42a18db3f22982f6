from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medgraph.config import ConfigError
from medgraph.console import Terminated, how_to_continue, user_errors
from medgraph.data.errors import DataError
from medgraph.training.jobs import JobsFailedError


@pytest.fixture(autouse=True)
def _program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/study.py"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "study.py", "name=a b"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("seed=x: expected an integer"), 2, "study.py: error: seed=x: expected an integer\n"),
        (DataError("a.json, record 3:\n bad"), 2, "study.py: error: a.json, record 3: bad\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.ckpt"),
            1,
            "study.py: error: no space left on the disk to write a.ckpt; make room and run the same command again\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "study.py: error: no space left on the disk; make room and run the same command again\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/runs"), 2, "study.py: error: /runs: permission denied\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", Path("a.json")),
            2,
            "study.py: error: a.json: no such file or directory\n",
        ),
        (FloatingPointError("train/loss is not\nfinite"), 1, "study.py: error: train/loss is not finite\n"),
        (JobsFailedError("2 of 3 runs failed"), 1, "study.py: error: 2 of 3 runs failed\n"),
        (KeyboardInterrupt(), 130, "study.py: interrupted; continue with: python study.py 'name=a b'\n"),
        (Terminated(), 143, "study.py: terminated; continue with: python study.py 'name=a b'\n"),
    ],
)
def test_what_the_user_can_act_on_is_one_line_and_a_code(error, code, line, capsys):
    with pytest.raises(SystemExit) as end, user_errors(), user_errors():
        raise error
    assert end.value.code == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a defect"),
        TypeError("a defect"),
        OSError("a defect"),
        FileNotFoundError("a defect that names no file"),
        RuntimeError("a defect"),
        SystemExit(1),
        SystemExit(0),
    ],
)
def test_everything_else_passes(error, capsys):
    with pytest.raises(type(error)) as found, user_errors():
        raise error
    assert found.value is error
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (["/venv/bin/python", "/venv/bin/medgraph", "run", "a.py"], "continue with: medgraph run a.py"),
        (["python3", "-m", "lightning_app", "extend"], "continue with: python3 -m lightning_app extend"),
        (["python3"], "continue with: python3"),
    ],
)
def test_the_command_to_continue_with_is_what_was_typed(typed, shown, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", typed)
    assert how_to_continue() == shown
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert how_to_continue() == "run the same command again to continue"


def test_nothing_happens_without_an_error():
    with user_errors():
        pass


TRAINING = """
from medgraph.config import ExperimentConfig, PhantomConfig, StageConfig, model_config, parse
from medgraph.console import user_errors
from medgraph.training.run import run

config = ExperimentConfig(
    data=PhantomConfig(num_train=8, num_task=4, num_val=2, num_test=2, num_ood=2),
    model=model_config("tiny", weights="random"),
    stage1=StageConfig(steps=100_000, batch_size=4), stage2=StageConfig(steps=0), stage3=StageConfig(steps=0),
)
with user_errors():
    run(parse(config, ["trainer.accelerator=cpu", "trainer.log_every=1", "run.name=r"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_during_training(number, code, tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    process = subprocess.Popen(
        [sys.executable, "train.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    while process.poll() is None and not any(file.stat().st_size for file in tmp_path.rglob("metrics.jsonl")):
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert errors.endswith(f"continue with: {sys.executable} train.py\n")
    assert "Traceback" not in errors
