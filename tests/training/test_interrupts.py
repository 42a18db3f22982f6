import os
import signal
from pathlib import Path

import pytest

from medgraph.console import Terminated
from medgraph.training import interrupts
from medgraph.training.interrupts import Interrupts, obey


def send(number):
    os.kill(os.getpid(), number)


def test_signals_are_obeyed_at_once_where_nobody_waits_for_a_step():
    with pytest.raises(Terminated) as end, Interrupts():
        send(signal.SIGTERM)
    assert end.value.code == 143
    with pytest.raises(KeyboardInterrupt), Interrupts():
        send(signal.SIGINT)


def test_in_training_a_signal_waits_for_the_end_of_the_step(capfd):
    with Interrupts() as signals:
        signals.wait()
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # a scheduler and a launcher may both send it
        assert signals.agreed() == signal.SIGTERM
        signals.release()
        with pytest.raises(Terminated):
            send(signal.SIGTERM)
    assert capfd.readouterr().err == "SIGTERM: stopping after this step\n"


def test_a_second_ctrl_c_does_not_wait(monkeypatch):
    with Interrupts() as signals:
        signals.wait()
        send(signal.SIGINT)
        send(signal.SIGINT)  # the same one, passed on by a launcher
        monkeypatch.setattr(interrupts, "AGAIN", 0.0)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_handlers_of_before_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)  # ignored in the background of a shell
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def scontrol(folder: Path, text: str, monkeypatch, **job: str) -> None:
    program = folder / "scontrol"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, value in job.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "7_2"),
    ],
)
def test_under_slurm_sigusr1_puts_the_job_back_into_the_queue(tmp_path, monkeypatch, capsys, job, name):
    scontrol(tmp_path, f'echo "$@" > {tmp_path}/called', monkeypatch, **job)
    with pytest.raises(Terminated), Interrupts():
        send(signal.SIGUSR1)
    assert (tmp_path / "called").read_text() == f"requeue {name}\n"
    assert capsys.readouterr().err == f"job {name} is back in the queue\n"


def test_a_job_that_cannot_be_requeued_still_ends_resumable(tmp_path, monkeypatch, capsys):
    scontrol(tmp_path, "echo denied >&2; exit 1", monkeypatch, SLURM_JOB_ID="7")
    with pytest.raises(Terminated):
        obey(signal.SIGUSR1)
    assert capsys.readouterr().err == "job 7 could not be requeued (denied); submit it again to continue\n"
