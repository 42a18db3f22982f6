"""Running an experiment file as Python itself would, and reading its configuration without running it."""

from __future__ import annotations

import difflib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from medgraph.config import ConfigError, ExperimentConfig, parse


def run_file(file: str, arguments: Sequence[str]) -> None:
    """Run a file as ``python FILE ARGUMENTS`` would: same ``sys.argv``, ``sys.path[0]`` and ``__main__``.

    It runs in this process, so signals reach the trainer; Lightning starts further processes from the same command.

    Raises:
        ConfigError: if there is no such Python file.
    """
    path = _enter(file, arguments)
    runpy.run_path(path, run_name="__main__")


def load_config(file: str, arguments: Sequence[str]) -> ExperimentConfig:
    """Resolve the configuration that an experiment file would run with.

    Raises:
        ConfigError: if there is no such Python file, it has no ``config()``, or an argument is wrong.
    """
    path = _enter(file, arguments)
    config = runpy.run_path(path, run_name="experiment").get("config")
    if not callable(config):
        raise ConfigError(f"{file} is not an experiment: it has no function config() that returns an ExperimentConfig")
    return parse(config(), arguments)


def _enter(file: str, arguments: Sequence[str]) -> str:
    """Check the file, set up ``sys`` for it, and return its absolute path."""
    path = Path(file)
    if path.suffix != ".py":
        raise ConfigError(f"{file}: expected a Python file (.py)")
    if not path.is_file():
        close = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], n=1)
        hint = f"; did you mean {path.with_name(close[0])}?" if close else ""
        raise ConfigError(f"{file}: no such file{hint}")
    sys.argv[:] = [str(path.absolute()), *arguments]
    sys.path[0] = str(path.parent.absolute())
    return str(path.absolute())
