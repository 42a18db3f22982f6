from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from medgraph.config import ConfigError
from medgraph.console import user_errors
from medgraph.data.errors import DataError


class SIGTERMException(SystemExit):
    pass


@pytest.fixture(autouse=True)
def _program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/study.py"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("seed=x: expected an integer"), 2, "study.py: error: seed=x: expected an integer\n"),
        (DataError("a.json, record 3:\n bad"), 2, "study.py: error: a.json, record 3: bad\n"),
        (KeyboardInterrupt(), 130, "study.py: interrupted; run the same command again to continue\n"),
        (SIGTERMException(), 143, "study.py: terminated; run the same command again to continue\n"),
    ],
)
def test_what_the_user_can_act_on_is_one_line_and_a_code(error, code, line, capsys):
    with pytest.raises(SystemExit) as end, user_errors(), user_errors():
        raise error
    assert end.value.code == code
    assert capsys.readouterr().err == line


def lightning_after_an_interrupt() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def test_the_way_lightning_ends_after_an_interrupt():
    with pytest.raises(SystemExit) as end, user_errors():
        lightning_after_an_interrupt()
    assert end.value.code == 130


@pytest.mark.parametrize("error", [ValueError("a defect"), TypeError("a defect"), SystemExit(1), SystemExit(0)])
def test_everything_else_passes(error, capsys):
    with pytest.raises(type(error)) as found, user_errors():
        raise error
    assert found.value is error
    assert capsys.readouterr().err == ""


def test_nothing_happens_without_an_error():
    with user_errors():
        pass


TRAINING = """
import logging, warnings, sys
warnings.simplefilter("ignore")
import lightning as L
from lightning.pytorch.demos.boring_classes import BoringModel
from medgraph.console import user_errors

class Ready(L.Callback):
    def on_train_batch_end(self, *args):
        print("ready", flush=True)

with user_errors():
    L.Trainer(max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
              enable_model_summary=False, callbacks=[Ready()]).fit(BoringModel())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_during_training(number, code, tmp_path):
    (tmp_path / "train.py").write_text(TRAINING)
    process = subprocess.Popen(
        [sys.executable, "train.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
