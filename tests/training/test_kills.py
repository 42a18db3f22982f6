"""Runs that are killed end as those that are left alone; `python tests/training/kills.py` prints the log."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["1"], ["2"], ["2", "fsdp"]], ids=" ".join)
def test_a_run_killed_at_every_kind_of_moment_ends_as_the_one_left_alone(arguments):
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal bit for bit" in done.stdout.splitlines()[-1]
