"""Extending many conversations: by templates, or by a language model with everything that can go wrong counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from medgraph.data.extend.conversations import Conversation
from medgraph.data.extend.prompt import extension_messages, known_facts, read_answers
from medgraph.data.extend.templates import extend_answer, extend_reply
from medgraph.data.records import Record
from medgraph.llm.ask import Asker, Outcome, ask_all
from medgraph.llm.chat import CHARACTERS_PER_TOKEN, Messages
from medgraph.llm.throttle import Throttle

Problems = list[tuple[str, Outcome[list[str]]]]
"""Conversation id and what happened instead of an answer."""


@dataclass(slots=True)
class Extended:
    """What became of the conversations.

    Attributes:
        long: long answers by conversation id.
        problems: conversations without them: id and outcome.
        unusable: replies that could not be used.
    """

    long: dict[str, Sequence[str]] = field(default_factory=dict)
    problems: Problems = field(default_factory=list)
    unusable: int = 0


def extend_by_template(conversations: Iterable[Conversation]) -> Extended:
    """Extend with the words of the record alone: triplet, label, question and answer."""
    return Extended({c.id: c.long or [template_answer(record) for record in c.records] for c in conversations})


def template_answer(record: Record) -> str:
    """The long answer of one record: by its triplet where the question is what the triplet's task asks.

    Other questions repeat question and answer, after what is known about the image.
    """
    facts = known_facts(record)
    if {"modality", "area", "task"} <= facts.keys():
        return extend_answer(record.answer, record.triplet, "context", record.id, record.options)
    text = extend_reply(record.question, record.answer, record.id)
    if "modality" not in facts:
        return text
    where = f" of the {facts['area']}" if "area" in facts else ""
    return f"This picture{where} is of the kind {facts['modality']}. {text}"


def extend_by_model(
    conversations: Sequence[Conversation],
    asker: Asker,
    throttle: Throttle,
    workers: int = 8,
    retries: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Extended:
    """Ask a language model for every conversation that has no long answers yet.

    Args:
        conversations: with unique ids.
        asker: model and journal; what the journal has is not asked.
        throttle: the model's; when this ends, by an error or Ctrl-C too, its `stop` is set.
        workers: calls at the same time.
        retries: attempts after an answer that cannot be used.
        advance: called after each conversation.

    Raises:
        CallError: if the server answers nothing more; everything paid is in the journal.
    """

    def work(conversation: Conversation) -> Outcome[list[str]]:
        read = partial(read_answers, num=len(conversation.records))
        return asker.ask_checked(conversation.id, extension_messages(conversation), read, retries)

    result = Extended({c.id: c.long for c in conversations if c.long})
    todo = [c for c in conversations if not c.long]
    with closing(ask_all(todo, work, workers, throttle.stop)) as outcomes:
        for conversation, outcome in outcomes:
            result.unusable += outcome.unusable
            if outcome.value is None:
                result.problems.append((conversation.id, outcome))
            else:
                result.long[conversation.id] = outcome.value
            advance()
    return result


def expected_calls(conversations: Iterable[Conversation]) -> Iterator[tuple[str, Messages, int]]:
    """Id, messages and expected tokens of the answer of every call of `extend_by_model`, at the length it asks for."""
    for conversation in conversations:
        if not conversation.long:
            tokens = sum(max(40, 2 * len(r.answer) // CHARACTERS_PER_TOKEN) for r in conversation.records)
            yield conversation.id, extension_messages(conversation), tokens + 10


def write_problems(file: Path, problems: Problems) -> None:
    """Write one line for every conversation without long answers: id, kind, reason, and what the model wrote."""
    lines = [
        json.dumps({"id": name, "kind": o.kind, "reason": o.reason, "text": o.text}, ensure_ascii=False)
        for name, o in problems
    ]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
