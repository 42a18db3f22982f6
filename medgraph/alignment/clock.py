"""How long the matching solvers of a block of code take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class SolverClock:
    """Adds up the wall time of solves.

    Attributes:
        seconds: so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0


_RUNNING: ContextVar[SolverClock | None] = ContextVar("solver clock", default=None)


@contextmanager
def time_solves() -> Iterator[SolverClock]:
    """Time every :func:`medgraph.alignment.matching.solve` inside the block.

    Example:
        >>> with time_solves() as clock:
        ...     pass
        >>> clock.seconds
        0.0
    """
    clock = SolverClock()
    token = _RUNNING.set(clock)
    try:
        yield clock
    finally:
        _RUNNING.reset(token)


@contextmanager
def solving() -> Iterator[None]:
    """Mark a block as a solve."""
    start = time.perf_counter()
    yield
    if (clock := _RUNNING.get()) is not None:
        clock.seconds += time.perf_counter() - start
