"""The journal of paid answers: append-only, one line a finished call, on the disk before the answer is used.

A call is known by what it asks: sample id, messages and the model's settings. Whoever asks the same again gets the
recorded answer, so a killed job continues, and a finished one can be repeated, without paying twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from medgraph.config import ConfigError
from medgraph.llm.chat import Messages, Reply


def call_key(sample: str, messages: Messages, settings: Mapping[str, Any]) -> str:
    """What identifies a call: 32 hex digits of the hash of everything the answer depends on."""
    content = json.dumps([sample, [dict(turn) for turn in messages], dict(settings)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


class Journal:
    """A file of answers, held by one process at a time; its methods may be called from several threads.

    A last line without its line break is what a kill leaves behind: it is removed, and the call made again.

    Args:
        path: the file to continue or to create; missing folders are made.

    Raises:
        ConfigError: if another process holds it, or it holds something else than answers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ConfigError(f"{path} is in use by another process; wait for it or choose another file") from error
        self._replies = self._read()

    def _read(self) -> dict[str, Reply]:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        replies = {}
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                values = json.loads(line)
                key, _, _ = values.pop("key"), values.pop("id"), values.pop("model")
                replies[key] = Reply(**values)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._file.close()
                raise ConfigError(
                    f"{self.path}, line {number}: expected a recorded answer, found {line[:80]!r}; remove the line, "
                    "or name another journal"
                ) from error
        return replies

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: str) -> Reply | None:
        """The recorded answer of a call, if there is one."""
        return self._replies.get(key)

    def add(self, key: str, sample: str, model: str, reply: Reply) -> None:
        """Record an answer; it is on the disk when this returns."""
        line = json.dumps({"key": key, "id": sample, "model": model, **asdict(reply)}, ensure_ascii=False)
        with self._lock:
            self._file.write(f"{line}\n".encode())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._replies[key] = reply

    def close(self) -> None:
        """Close the file and let others use it."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
