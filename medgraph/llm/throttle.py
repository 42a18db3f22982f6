"""How fast to ask: requests a minute for all threads together, and waiting that can be interrupted."""

from __future__ import annotations

import threading
import time

from medgraph.llm.chat import StoppedError


class Throttle:
    """Hands out the right to send one request.

    Args:
        per_minute: requests a minute, evenly spread; None: no limit.
        stop: set when the program is ending; every wait then ends with `StoppedError`.
    """

    def __init__(self, per_minute: float | None = None, stop: threading.Event | None = None) -> None:
        if per_minute is not None and per_minute <= 0:
            raise ValueError(f"per_minute={per_minute}: expected a positive number of requests a minute")
        self.stop = stop or threading.Event()
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may be sent.

        Raises:
            StoppedError: if the program is ending.
        """
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next and not self.stop.is_set():
                    self._next = now + self._gap
                    return
                delay = self._next - now
            self.sleep(delay)

    def sleep(self, seconds: float) -> None:
        """Sleep in this thread only.

        Raises:
            StoppedError: if the program is ending.
        """
        if self.stop.wait(max(seconds, 0)):
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Let no thread send anything for a while: the server asked for it."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
