"""The template for SLURM, run with programs that stand for SLURM's."""

import os
import subprocess
from pathlib import Path

import pytest

from medgraph.config import ExperimentConfig, parse, validate

TEMPLATE = Path(__file__).parent.parent / "experiments" / "cluster" / "slurm.sbatch"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A job of two nodes with four tasks each."""
    for name, text in {
        "scontrol": 'echo "$@" >> calls; echo node7; echo node8',
        "srun": 'echo "$MASTER_ADDR $MASTER_PORT"; printf "%s\\n" "$@"',
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/usr/bin/env bash\n{text}\n")
        program.chmod(0o755)
    job = {
        "SLURM_JOB_ID": "41234",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS_PER_NODE": "4",
    }
    for name, value in {**job, "PATH": f"{tmp_path}:{os.environ['PATH']}"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_the_slurm_template_starts_the_experiment_on_all_devices(slurm):
    arguments = ("experiments/x.py", "model=llava-med-7b", "trainer.strategy=fsdp")
    done = subprocess.run(["bash", TEMPLATE, *arguments], cwd=slurm, capture_output=True, text=True, check=True)
    where, *command = done.stdout.splitlines()
    assert where == "node7 16234"
    assert command[:4] == ["--kill-on-bad-exit=1", "python", "experiments/x.py", "model=llava-med-7b"]
    config = parse(ExperimentConfig(), command[3:])
    validate(config)
    assert (config.trainer.devices, config.trainer.num_nodes, config.trainer.strategy) == (4, 2, "fsdp")


def test_the_slurm_template_asks_for_a_signal_before_the_end_and_may_be_requeued():
    text = TEMPLATE.read_text()
    subprocess.run(["bash", "-n", TEMPLATE], check=True)
    for option in ("--signal=USR1@300", "--requeue", "--open-mode=append", "--ntasks-per-node=4", "--gpus-per-node=4"):
        assert f"#SBATCH {option}\n" in text
