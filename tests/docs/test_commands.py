"""Commands in the documentation are real: programs, files, options and configuration keys. Nothing is run."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from lightning_app.commands import app
from medgraph.cg.starts import base_config
from medgraph.config import ConfigError, ExperimentConfig, parse, validate
from medgraph.training.study import split_options

ROOT = Path(__file__).parents[2]
FILES = re.compile(r"^([\w.]*root|start|encoders)=.*|^([\w.]+)=(?:PATH|FILE|FOLDER)$")
PLACEHOLDER = re.compile(r"[A-Z_]+(\.\w+)?|…|\[.*")
NUMBERS, SWITCHES = ("seeds", "workers", "screening_seeds"), ("save_reference",)
WITH_OVERRIDES = ("run", "config", "inspect", "estimate")


@cache
def module(file: str) -> dict[str, object]:
    """An experiment file, not run."""
    return runpy.run_path(str(ROOT / file), run_name="experiment")


def check_experiment(file: str, overrides: list[str], tmp: Path) -> None:
    """The file is there and takes these overrides; data sets are taken to be where the page says they are."""
    assert (ROOT / file).is_file(), f"no file {file}"
    content = module(file)
    overrides = [FILES.sub(rf"\1\2={tmp}", one) for one in overrides if one != "…"]
    if "config" in content:
        check_config(content["config"](), overrides)
        return
    options, rest = split_options(overrides, NUMBERS, SWITCHES)
    rest = [one for one in rest if not {key := one.partition("=")[0], f"{key}="} & texts_in(ROOT / file)]
    if "OPTIONS" in content:
        check_config(base_config(), rest)
    elif "BASE" in content:
        check_config(module(str(content["BASE"]))["config"](), rest)
    elif "plan" in content:
        plan = content["plan"]()
        if arms := getattr(plan, "arms", ()):
            known = arms if isinstance(arms, dict) else [each.name for each in (*arms, *plan.families)]
            assert set(options.get("arms", ())) <= set(known), f"arms={options['arms']}: known: {', '.join(known)}"
        check_config(plan.base if hasattr(plan, "base") else plan.arms[0].config(()), rest)
    else:
        check_flags(ROOT / file, overrides)


def check_config(default: object, overrides: list[str]) -> None:
    """As a run would, but for what only the reader's disk can tell."""
    if not isinstance(default, ExperimentConfig):
        parse(default, overrides, lambda config: None)
        return
    config = parse(default, overrides, lambda config: None)
    try:
        validate(config)
    except ConfigError as error:
        if not re.search(r"no such (folder|file)|looks like a path", str(error)):
            raise


@cache
def texts_in(script: Path) -> set[str]:
    """Texts in the code of a file: the options that it takes are among them."""
    nodes = ast.walk(ast.parse(script.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def check_flags(script: Path, arguments: list[str]) -> None:
    """A script with argparse knows every option: its own, or those of a module beside it."""
    known = texts_in(script).union(*map(texts_in, script.parent.glob("common.py")))
    for one in arguments:
        flag = one.strip("[]").partition("=")[0]
        assert not flag.startswith("--") or flag in known, f"{script.name} has no option {flag}"


@cache
def program() -> Any:
    """`medgraph`."""
    return typer.main.get_command(app)


def check_medgraph(arguments: list[str], tmp: Path) -> None:
    """The command exists and takes these options and arguments."""
    command, rest = program(), arguments
    context = command.make_context("medgraph", [*rest])
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        if "--help" in rest:
            return
        context = command.make_context(name, [one for one in rest if one != "…"], parent=context)
    values = context.params
    overrides = [str(one) for one in values.get("overrides") or ()]
    if name in WITH_OVERRIDES and len(arguments) == len(rest) + 1:
        check_experiment(values["file"], overrides, tmp)
    elif name in ("plan", "suggest"):
        parse(
            base_config(), [one for one in values["settings"] or () if not one.startswith("data")], lambda config: None
        )


def check(command: str, tmp: Path) -> None:
    """Check one line.

    Raises:
        AssertionError: or any other error, saying what is wrong with it.
    """
    name, *arguments = shlex.split(command.partition(" > ")[0], comments=True)
    script = next((i for i, one in enumerate(arguments) if one.endswith(".py")), None)
    if name == "make":
        targets = [one for one in arguments if "=" not in one]
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{one}:", makefile, re.MULTILINE) for one in targets), f"no target in {targets}"
    elif name == "medgraph":
        check_medgraph(arguments, tmp)
    elif name == "pytest":
        paths = [one for one in arguments if one.startswith("tests/")]
        assert all((ROOT / one).exists() for one in paths), f"no file in {paths}"
    elif script is None or PLACEHOLDER.fullmatch(arguments[script]):
        assert name == "python", f"{name} starts nothing"
    elif arguments[script].startswith("experiments/"):
        templates = [one for one in arguments[:script] if one.endswith(".sbatch")]
        assert all((ROOT / one).is_file() for one in templates), f"no file in {templates}"
        check_experiment(arguments[script], arguments[script + 1 :], tmp)
    elif arguments[script].startswith(("benchmarks/", "tests/", "docs/")):
        assert (ROOT / arguments[script]).is_file(), f"no file {arguments[script]}"
        check_flags(ROOT / arguments[script], arguments[script + 1 :])


@pytest.fixture
def heads(pages, tmp_path, monkeypatch):
    """Classes that pages define and pass on the command line can be imported: ``alignment=my_heads.Centroid``."""
    for page in pages.values():
        for file, name in set(re.findall(r"alignment=(\w+)\.(\w+)", page.text)):
            for block in page.blocks:
                if block.language == "python" and f"class {name}(" in block.text:
                    (tmp_path / f"{file}.py").write_text(block.text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def problems_of(commands: list[tuple[str, str]], tmp: Path) -> list[str]:
    found = []
    for place, command in dict.fromkeys(commands):
        argv = list(sys.argv)
        try:
            check(command, tmp)
        except (Exception, SystemExit) as error:
            found.append(f"{place}: {command}\n    {error or type(error).__name__}")
        sys.argv[:] = argv
    return found


def test_commands_in_fences_are_real(pages, heads):
    commands = [(page.name, command) for page in pages.values() for block in page.blocks for command in block.commands]
    assert len(commands) > 100
    assert not (problems := problems_of(commands, heads)), "\n".join(problems)


def test_commands_of_the_paper_index_are_real(pages, heads):
    page = pages["docs/paper_index.md"]
    whole = [
        code
        for code in page.inline
        if code.startswith(("lightning run", "medgraph ", "python ")) and code.count(" ") > 1
    ]
    assert len(whole) > 10
    assert not (problems := problems_of([(page.name, code) for code in whole], heads)), "\n".join(problems)


@pytest.mark.parametrize(
    "command",
    [
        "lightning run experiments/exgra_99pct.py",
        "lightning run experiments/exgra_10pct.py aligment.k=3",
        "lightning run experiments/exgra_10pct.py alignment.k=0",
        "lightning run experiments/data_efficiency.py arms=nobody",
        "medgraph scores runs/x",
        "medgraph score a.jsonl --truth b.json",
        "medgraph estimate experiments/exgra_10pct.py modle=tiny --gpu h200",
        "python benchmarks/nothing.py",
        "python benchmarks/alignment.py --chekc",
        "make it so",
        "torchrun --nproc-per-node=4 experiments/exgra_10pct.py trainer.device=4",
    ],
)
def test_wrong_commands_are_found(command, tmp_path):
    assert problems_of([("page", command)], tmp_path)
