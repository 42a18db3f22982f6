import io
import sys
import time

import pytest

from medgraph import progress
from medgraph.progress import bar, bars_wanted, track


class Terminal(io.StringIO):
    """What a person would see of standard error, for as long as the block lasts."""

    def isatty(self) -> bool:
        return True

    def __enter__(self):
        self.before, sys.stderr = sys.stderr, self
        return self

    def __exit__(self, *error):
        sys.stderr = self.before

    @property
    def text(self) -> str:
        return self.getvalue()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_sees_count_and_rate():
    with Terminal() as terminal:
        for _ in track(range(4), "reading"):
            time.sleep(0.02)
            progress._display.refresh()
    assert progress._display is None
    assert "reading" in terminal.text
    assert "3/4" in terminal.text
    assert "/s" in terminal.text


def test_bars_inside_bars_share_a_display():
    with Terminal() as terminal, bar("outer", 2) as outer:
        display = progress._display
        with bar("inner", 3) as inner:
            assert progress._display is display
            inner(2, note="cost 0.10")
            display.refresh()
        outer()
        assert [task.description for task in display.tasks] == ["outer"]
    assert "2/3" in terminal.text
    assert "cost 0.10" in terminal.text


def test_an_error_takes_the_bar_away_and_brings_the_cursor_back():
    def interrupted():
        with bar("outer", 2):
            progress._display.refresh()
            raise KeyboardInterrupt

    with Terminal() as terminal, pytest.raises(KeyboardInterrupt):
        interrupted()
    assert progress._display is None
    assert "outer" not in terminal.text.rpartition("\x1b[?25h")[2]
    assert "\x1b[?25h" in terminal.text


def test_nothing_where_bars_are_not_wanted_or_over_too_soon(monkeypatch):
    with Terminal() as terminal:
        with bars_wanted(False), bars_wanted(True), bar("hidden", 2) as advance:
            advance()
        monkeypatch.setattr(progress, "PATIENCE", 60.0)
        with bar("short", 2) as advance:
            advance()
            progress._display.refresh()
    assert "hidden" not in terminal.text
    assert "short" not in terminal.text


def test_a_pipe_sees_nothing(capfd):
    assert list(track((i for i in range(3)), "reading", 3)) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")
