"""Ranks in processes of their own, forked from one that has imported everything: all there, some missing."""

import json
import socket
import subprocess
import sys

import pytest

RANKS = """
import json, os, sys, tempfile
import torch, torch.distributed as dist
from medgraph.console import user_errors
from medgraph.training.preflight import join

def rank(number, ranks, port, seconds, log):
    os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    with user_errors():
        everyone = join(number, ranks, "127.0.0.1", port, torch.device("cpu"), seconds)
        total = torch.tensor(number)
        dist.all_reduce(total)
        print("sum", int(total), len(everyone))
        dist.destroy_process_group()

def scenario(present, ranks, port, seconds):
    running = []
    for number in present:
        log = tempfile.TemporaryFile("w+")
        if (pid := os.fork()) == 0:
            code = 1
            try:
                rank(number, ranks, port, seconds, log)
                code = 0
            except SystemExit as end:
                code = end.code
            finally:
                sys.stdout.flush()
                os._exit(code)
        running.append((pid, log))
    ended = []
    for pid, log in running:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        log.seek(0)
        ended.append((code, log.read()))
    return ended

print(json.dumps([scenario(**each) for each in json.loads(sys.argv[1])]))
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_ranks_compute_together_or_the_missing_are_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [free_port(), free_port(), free_port(), taken.getsockname()[1]]
        scenarios = [
            {"present": [0, 1], "ranks": 2, "port": ports[0], "seconds": 60},
            {"present": [0, 2], "ranks": 4, "port": ports[1], "seconds": 8},
            {"present": [1], "ranks": 2, "port": ports[2], "seconds": 3},
            {"present": [0], "ranks": 2, "port": ports[3], "seconds": 3},
        ]
        command = [sys.executable, "-c", RANKS, json.dumps(scenarios)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    together, missing, no_first, busy = json.loads(done.stdout)

    assert [code for code, _ in together] == [0, 0], together
    assert all("sum 1 2" in output for _, output in together)
    assert ["GiB" in output for _, output in together] == [True, False]  # rank 0 prints the table

    assert [code for code, _ in missing] == [1, 1], missing
    assert f"rank 1, rank 3 of 4 ranks did not answer within 8 s at 127.0.0.1:{ports[1]}" in missing[0][1]
    assert not any("Traceback" in output for _, output in missing)

    assert no_first[0][0] == 1
    assert f"cannot reach rank 0 at 127.0.0.1:{ports[2]} within 3 s" in no_first[0][1]

    assert busy[0][0] == 1
    assert f"rank 0 cannot listen at port {ports[3]}" in busy[0][1]


STARTED = """
import os
import torch.distributed as dist
from medgraph.config import TrainerConfig
from medgraph.training.ranks import start

start(TrainerConfig(accelerator="cpu", devices=2, preflight_seconds=240))
os.write(1, f"rank {dist.get_rank()} of {dist.get_world_size()}\\n".encode())  # one write: ranks share the pipe
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"], []])
def test_torchrun_and_the_command_itself_start_the_ranks(tmp_path, launcher):
    script = tmp_path / "start.py"
    script.write_text(STARTED)
    command = [sys.executable, *launcher, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("rank")) == [
        "rank 0 of 2",
        "rank 1 of 2",
    ]
    assert "2 ranks" in done.stdout
