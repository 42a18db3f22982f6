import threading
from pathlib import Path

import pytest

from medgraph.llm.chat import Reply


class ScriptedModel:
    """Answers what the script says: one text (or Reply, or error) a call."""

    def __init__(self, *script) -> None:
        self.settings = {"model": "scripted"}
        self.script, self.asked, self._lock = list(script), [], threading.Lock()

    def __call__(self, messages):
        with self._lock:
            self.asked.append(messages)
            answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(answer, prompt_tokens=7, completion_tokens=3)


@pytest.fixture
def scripted() -> type[ScriptedModel]:
    return ScriptedModel


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "out" / "journal.jsonl"
