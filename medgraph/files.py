"""Files that are whole or as they were before."""

from __future__ import annotations

import errno
import os
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
        if part.exists() and (full := _full(part)):
            raise OSError(full.errno, full.strerror, str(file)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _full(part: Path) -> OSError | None:
    """What the system says if there is no room left; torch and safetensors hide it in errors of their own."""
    try:
        with part.open("ab") as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    return None
