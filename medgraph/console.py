"""How a program of MedGraph ends: one line and an exit code instead of a traceback, where the user can act on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER_ERROR = 2
"""A mistake in the command, the configuration or the data."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT."""
TERMINATED = 143
"""SIGTERM: 128 + 15. Schedulers that see it know that the job is not done."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn mistakes of the user, Ctrl-C and SIGTERM into one line on standard error and an exit code.

    Everything else keeps its traceback: it is a defect of the program. Blocks may be nested.

    Raises:
        SystemExit: with `USER_ERROR`, `INTERRUPTED` or `TERMINATED`.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to continue", INTERRUPTED)
    except SystemExit as error:
        # Lightning ends with code 0 after SIGTERM; after Ctrl-C it calls sys.exit(1) while it handles KeyboardInterrupt
        if type(error).__name__ == "SIGTERMException":
            fail("terminated; run the same command again to continue", TERMINATED)
        if error.code == 1 and isinstance(error.__context__, KeyboardInterrupt):
            fail("interrupted; run the same command again to continue", INTERRUPTED)
        raise
    except ValueError as error:
        from medgraph.config import ConfigError
        from medgraph.data.errors import DataError

        if not isinstance(error, ConfigError | DataError):
            raise
        fail(f"error: {error}", USER_ERROR)


def fail(message: str, code: int) -> None:
    """Print one line to standard error, after the program's name, and exit.

    Raises:
        SystemExit: always, with the code.
    """
    line = " ".join(message.split())
    print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
    raise SystemExit(code)
