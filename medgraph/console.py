"""How a program of MedGraph ends: one line and an exit code instead of a traceback, where the user can act on it."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FAILED = 1
"""The command was right, but something stopped it: a full disk, a loss that is not finite, a run of a study."""
USER_ERROR = 2
"""A mistake in the command, the configuration or the data."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""
TERMINATED = 143
"""SIGTERM: 128 + 15. Schedulers that see it know that the job is not done."""


class Terminated(SystemExit):
    """A run ends because it was told to; everything needed to continue it is on the disk."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


@contextmanager
def user_errors(*mistakes: type[Exception]) -> Iterator[None]:
    """Turn what the user can act on, Ctrl-C and SIGTERM into one line on standard error and an exit code.

    Everything else keeps its traceback: it is a defect of the program. Blocks may be nested.

    Args:
        mistakes: further errors that, inside this block, can only come from what the user gave.

    Raises:
        SystemExit: with `FAILED`, `USER_ERROR`, `INTERRUPTED` or `TERMINATED`.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {how_to_continue()}", INTERRUPTED)
    except Terminated:
        fail(f"terminated; {how_to_continue()}", TERMINATED)
    except Exception as error:
        known = (str(error), USER_ERROR) if isinstance(error, mistakes) else _explain(error)
        if known is None:
            raise
        message, code = known
        fail(f"error: {message}", code)


def _explain(error: Exception) -> tuple[str, int] | None:
    """Message and exit code of an error that the user can act on; None for a defect of the program."""
    if isinstance(error, OSError):
        return _explain_os(error)
    if isinstance(error, FloatingPointError) or type(error).__name__ in ("JobsFailedError", "RanksMissingError"):
        return str(error), FAILED
    from medgraph.config import ConfigError
    from medgraph.data.errors import DataError

    return (str(error), USER_ERROR) if isinstance(error, ConfigError | DataError) else None


def _explain_os(error: OSError) -> tuple[str, int] | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" to write {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}; make room and run the same command again", FAILED
    if error.filename and isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return f"{error.filename}: {str(error.strerror).lower()}", USER_ERROR
    return None


def how_to_continue() -> str:
    """The command that started this program, to be typed again; its name only where a launcher typed it."""
    interpreter, *given = sys.orig_argv
    if {"TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"} & os.environ.keys():
        return "run the same command again to continue"
    script = Path(given[0]).name if given else ""
    command = [script, *given[1:]] if script in ("medgraph", "lightning") else [interpreter, *given]
    return f"continue with: {shlex.join(command)}"


def fail(message: str, code: int) -> None:
    """Print one line to standard error, after the program's name, and exit.

    Raises:
        SystemExit: always, with the code.
    """
    line = " ".join(message.split())
    print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
    raise SystemExit(code)
