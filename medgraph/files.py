"""Files that are whole or as they were before, text and JSON in them, and files that one process holds."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to, and rename it to ``file`` if that went well: ``file`` is whole or as it was before.

    Raises:
        OSError: if the disk is full, also where the writing library has another name for it.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        yield part
        os.replace(part, file)
    except Exception as error:
        if number := _full(part, error):
            raise OSError(number, os.strerror(number), str(file)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(file, json.dumps(content, indent=1) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


LOCK = ".lock"
"""The file in the folder of a run that its process holds."""
ERROR_NOTE = "error.txt"
"""The file in the folder of a run that says what ended its last attempt, if an error did."""


def hold(lock: IO[Any]) -> bool:
    """Hold an open file until it is closed or the process ends; False where another process holds it."""
    try:
        # not flock: loader processes would inherit it and hold it for seconds after a kill
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(file: Path) -> bool:
    """Whether another process holds a file."""
    try:
        with file.open("r+") as lock:
            return not hold(lock)
    except OSError:
        return False


def _full(part: Path, error: Exception) -> int:
    """The system's number for a full disk, behind an error that safetensors or torch has made of it; 0 for others."""
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(found[1])
    elif part.exists():
        number = _try_to_append(part)
    else:
        number = 0
    return number if number in (errno.ENOSPC, errno.EDQUOT) else 0


def _try_to_append(part: Path) -> int:
    try:
        with part.open("ab") as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.errno or 0
    return 0
