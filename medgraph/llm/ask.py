"""Asking well: recorded answers first, JSON that is checked, refusals that are noticed, many questions at once."""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from medgraph.llm.chat import CallError, ChatModel, Messages, RejectedError, Reply, StoppedError, estimate_tokens
from medgraph.llm.journal import Journal, call_key

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Value = TypeVar("Value")
Kind = Literal["answered", "refused", "invalid", "rejected"]

FAILURES_IN_A_ROW = 10
"""So many rejected requests with no answer between them are no accident: the job stops."""

_REFUSAL = re.compile(
    r"^\W*(i['’]?m (very |really |so )?sorry|sorry|i apologi[sz]e|i (can['’]t|cannot|can not|won['’]t)"
    r"|i( am|['’]m) unable|as an ai\b|unfortunately, i )",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Usage:
    """Calls and tokens, of this process and of the journal it continues.

    Attributes:
        calls: answers of the model.
        recalled: answers taken from the journal.
        prompt_tokens: read in the calls, not the recalled ones.
        completion_tokens: written in the calls.
        estimated: calls whose tokens the server did not count.
    """

    calls: int = 0
    recalled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a million tokens, read and written, in any currency.

    Example:
        >>> Price(2.5, 10).of(1_000_000, 500_000)
        7.5
    """

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Cost of so many tokens."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value]):
    """What became of one question.

    Attributes:
        kind: ``answered``; ``refused`` by the model; ``invalid``: no usable answer after all attempts; ``rejected`` by
            the server.
        value: the checked answer; None for every other kind.
        reason: why there is none.
        text: what the model wrote last.
        unusable: replies that could not be used.
    """

    kind: Kind
    value: Value | None = None
    reason: str = ""
    text: str = ""
    unusable: int = 0


@dataclass(slots=True)
class Asker:
    """A chat model with a journal; may be used from several threads."""

    model: ChatModel
    journal: Journal
    usage: Usage = field(default_factory=Usage)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, sample: str, messages: Messages) -> Reply:
        """The recorded answer to these messages, or a new one, recorded before it is returned.

        Raises:
            CallError: as the model.
            StoppedError: as the model.
        """
        key = call_key(sample, messages, self.model.settings)
        if recorded := self.journal.get(key):
            with self._lock:
                self.usage.recalled += 1
            return recorded
        reply = self.model(messages)
        self.journal.add(key, sample, self.model.settings["model"], reply)
        with self._lock:
            self.usage.calls += 1
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
            self.usage.estimated += not reply.counted
        return reply

    def ask_checked(
        self, sample: str, messages: Messages, read: Callable[[str], Value], retries: int = 2
    ) -> Outcome[Value]:
        """Ask until the answer can be used; the model is told what was wrong with the last one.

        The retries are calls with messages of their own, so they are recorded and recalled like any other.

        Args:
            sample: id of what is asked about.
            messages: system prompt and question.
            read: makes the value from the model's text; raises ValueError with a reason that the model understands.
            retries: attempts after the first.

        Raises:
            CallError: as the model; a request it rejects is an outcome.
        """
        reason = text = ""
        for attempt in range(retries + 1):
            try:
                reply = self.ask(sample, messages)
            except RejectedError as error:
                return Outcome("rejected", reason=str(error), text=text, unusable=attempt)
            text = reply.text
            if refusal := refusal_of(reply):
                return Outcome("refused", reason=refusal, text=text, unusable=attempt)
            try:
                return Outcome("answered", read(text), text=text, unusable=attempt)
            except ValueError as error:
                reason = "the answer was cut off, be shorter" if reply.stop == "length" else str(error)
            again = f"This answer cannot be used: {reason}. Answer again, in the form that was asked for."
            messages = [*messages, {"role": "assistant", "content": text or "(nothing)"},
                        {"role": "user", "content": again}]  # fmt: skip
        return Outcome("invalid", reason=reason, text=text, unusable=retries + 1)


def refusal_of(reply: Reply) -> str:
    """The reason if a reply is a refusal, else an empty text.

    A refusal is what the server calls one, what its filter cut, or a text that is no JSON and begins with an apology.

    Example:
        >>> refusal_of(Reply("I'm sorry, but I can't help with that.")), refusal_of(Reply('{"answers": ["Sorry"]}'))
        ("I'm sorry, but I can't help with that.", '')
    """
    if reply.refusal:
        return reply.refusal
    if reply.stop == "content_filter":
        return "stopped by the content filter"
    return reply.text.strip().splitlines()[0] if _REFUSAL.match(reply.text) else ""


def read_object(text: str, *fields: str) -> dict[str, Any]:
    r"""Read a reply that must be one JSON object with exactly these fields; a code fence around it is removed.

    Raises:
        ValueError: with a reason that the model understands.

    Example:
        >>> read_object('```json\n{"score": 7}\n```', "score")
        {'score': 7}
    """
    text = re.sub(r"^```\w*\s*(.*?)\s*```$", r"\1", text.strip(), flags=re.DOTALL)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} at character {error.pos})") from error
    if not isinstance(value, dict) or set(value) != set(fields):
        raise ValueError(f"it must be a JSON object with exactly the fields {', '.join(map(repr, fields))}")
    return value


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would cost, before it is begun; without retries.

    Attributes:
        calls: calls to be made.
        recorded: calls whose answer is in the journal, usable or not.
        prompt_tokens: to be read, from the number of characters.
        completion_tokens: to be written.
    """

    calls: int
    recorded: int
    prompt_tokens: int
    completion_tokens: int


def estimate(
    calls: Iterable[tuple[str, Messages, int]], settings: Mapping[str, Any], journal: Journal | None
) -> Estimate:
    """Count calls and tokens of a job; calls nobody.

    Args:
        calls: sample id, messages and expected tokens of the answer.
        settings: of the model.
        journal: of the job, if it exists.
    """
    made = recorded = prompt_tokens = completion_tokens = 0
    for sample, messages, answer in calls:
        if journal and journal.get(call_key(sample, messages, settings)):
            recorded += 1
            continue
        made += 1
        prompt_tokens += estimate_tokens(messages)
        completion_tokens += answer
    return Estimate(made, recorded, prompt_tokens, completion_tokens)


def ask_all(
    tasks: Sequence[Task], work: Callable[[Task], Outcome[Value]], workers: int, stop: threading.Event
) -> Generator[tuple[Task, Outcome[Value]]]:
    """Work on many questions in several threads and yield each with its outcome, in the order they are finished.

    When the iteration ends early (Ctrl-C, an error) no further call is begun, and those under way, which are paid for,
    are finished and recorded; a second Ctrl-C leaves them.

    Args:
        tasks: what to ask.
        work: asks one; called in the threads.
        workers: number of threads.
        stop: the event the model's throttle looks at.

    Raises:
        CallError: if a call failed for all, or `FAILURES_IN_A_ROW` requests were rejected in a row.
    """
    results: queue.SimpleQueue[tuple[Task, Outcome[Value]] | BaseException | None] = queue.SimpleQueue()
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def loop() -> None:
        try:
            while not stop.is_set():
                task = waiting.get_nowait()
                results.put((task, work(task)))
        except (queue.Empty, StoppedError):
            pass
        except BaseException as error:
            results.put(error)
        results.put(None)

    threads = [threading.Thread(target=loop, daemon=True) for _ in range(min(workers, len(tasks)))]
    for thread in threads:
        thread.start()
    running, failures = len(threads), 0
    try:
        while running:
            result = results.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                failures = failures + 1 if result[1].kind == "rejected" else 0
                if failures == FAILURES_IN_A_ROW:
                    raise CallError(f"{failures} requests in a row were rejected, the last one: {result[1].reason}")
                yield result
    finally:
        if running:
            stop.set()
        if alive := sum(thread.is_alive() for thread in threads):
            logger.warning("finishing %d calls under way; Ctrl-C once more leaves them", alive)
        for thread in threads:
            thread.join()
