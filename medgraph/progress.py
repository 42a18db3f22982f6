"""Bars with rate and remaining time on standard error; nothing at all where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds that something may take without a bar."""


class Advance(Protocol):
    """Moves a bar."""

    def __call__(self, count: float = 1, note: str = "") -> None:
        """Add what was done since the last call; a note stands behind the bar."""


@contextmanager
def bar(what: str, total: int) -> Iterator[Advance]:
    """Show a bar inside the block; bars inside bars share one display.

    Args:
        what: is being done.
        total: of the counts that the bar will advance by.
    """
    global _display
    if not (_wanted and sys.stderr.isatty()):
        yield lambda count=1, note="": None
        return
    display = _display = _display or _start()
    task = display.add_task(what, total=total, note="")
    try:
        yield lambda count=1, note="": display.update(task, advance=count, note=note)
    finally:
        display.remove_task(task)
        if not display.tasks:
            display.stop()
            _display = None


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items under a bar.

    Args:
        items: what is worked on.
        what: is being done.
        total: their number, where they have no length.
    """
    with bar(what, len(items) if total is None else total) as advance:  # type: ignore[arg-type]
        for item in items:
            yield item
            advance()


@contextmanager
def bars_wanted(wanted: bool) -> Iterator[None]:
    """Without bars inside the block, if they are not wanted: other programs draw there, or the user said so."""
    global _wanted
    before, _wanted = _wanted, _wanted and wanted
    try:
        yield
    finally:
        _wanted = before


class _Bars(Progress):
    """Bars that show once they have run for `PATIENCE`."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The table of bars."""
        yield self.make_tasks_table([task for task in self.tasks if (task.elapsed or 0) > PATIENCE])


class _Rate(ProgressColumn):
    """``12.3/s``, or ``4.5 s each``."""

    def render(self, task: Task) -> Text:
        """The text of one bar."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.1f}/s" if speed >= 1 else f"{1 / speed:,.1f} s each")


_wanted = True
_display: Progress | None = None


def _start() -> Progress:
    what, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    display = _Bars(
        *(what, BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), note),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=5,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a pipe must not end on the terminal
    )
    display.start()
    return display
