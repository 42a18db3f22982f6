"""The commands of the README and the tutorials run, those that need no cluster, no key and no data of the reader."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lightning_app.commands import app

ROOT = Path(__file__).parents[2]
READERS = re.compile(r"\b(PATH|FILE|RUN|NAME|HOST)\b|/data/|/models/|my_heads|studies/mine")
"""What only the reader has."""
LONG = re.compile(r"cg run|cg report|data_efficiency|llava-med-7b")
SHRINK = (
    "data.num_train=80", "data.num_task=8", "data.num_val=2", "data.num_test=4", "data.num_ood=4",
)  # fmt: skip
FEW_STEPS = (
    "stage1.steps=0", "stage2.steps=1", "stage3.steps=0", "stage2.batch_size=4", "eval.limit=4",
    "eval.controls=false", "eval.likelihood=false", "trainer.accelerator=cpu",
)  # fmt: skip


def run(command: str) -> None:
    """Run a command in this process; training is cut short."""
    program, *arguments = shlex.split(command, comments=True)
    if program == "lightning" or arguments[0] == "inspect":
        own_data = any(one.startswith("data=") for one in arguments)
        arguments += FEW_STEPS if own_data else (*FEW_STEPS, *SHRINK)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"{command}: {result.output[-2000:]} {result.exception!r}"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder that looks like a clone to a reader."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_losses", raising=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*litlogger", "ignore:.*does not have many workers")
@pytest.mark.parametrize("name", ["first_run", "your_images", "your_loss", "cg_study", "evaluate_others"])
def test_a_tutorial_runs_from_top_to_bottom(name, pages, place):
    done = []
    for block in pages[f"docs/tutorials/{name}.md"].blocks:
        if block.file:
            (place / block.file).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, name, "exec"), {"__name__": "__main__"})
        for command in block.commands:
            if (
                command.startswith(("lightning", "medgraph"))
                and not READERS.search(command)
                and not LONG.search(command)
            ):
                run(command)
                done.append(command)
    assert done


@pytest.mark.slow
def test_the_cheap_commands_of_the_readme_run(pages, place):
    cheap = ("medgraph config", "medgraph cg list", "medgraph cg suggest", "medgraph estimate")
    commands = [command for block in pages["README.md"].blocks for command in block.commands]
    chosen = [
        command
        for command in commands
        if command.startswith(cheap) and not READERS.search(command) and not LONG.search(command)
    ]
    assert len(chosen) >= 3
    for command in chosen:
        run(command)
