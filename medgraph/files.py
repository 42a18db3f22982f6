"""Files that are whole or as they were before."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
