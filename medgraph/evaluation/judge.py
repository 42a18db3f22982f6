"""Judging chatbot answers: a language model or a rule rates them, and every failure is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from medgraph.evaluation.chatbot import HIGHEST, LOWEST, ChatItem, JudgeProtocol, Ratings
from medgraph.evaluation.scoring import token_overlap
from medgraph.llm.ask import Asker, Outcome, ask_all
from medgraph.llm.chat import Messages
from medgraph.llm.throttle import Throttle

RULE = "rule"
"""Name of the judge that is no model."""

Call = tuple[ChatItem, bool]
"""A question and whether the chatbot's answer is shown first."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge's calls about one chatbot.

    Attributes:
        protocol: how it was asked.
        items: all questions.
        ratings: of reference and answer, one pair an order, by question id; only questions all of whose calls
            succeeded.
        failures: reason by question id, for the others.
        unusable: replies that could not be used.
    """

    protocol: JudgeProtocol
    items: Sequence[ChatItem]
    ratings: Mapping[str, Sequence[Ratings]]
    failures: Mapping[str, str]
    unusable: int = 0


def judge_by_rule(items: Sequence[ChatItem], protocol: JudgeProtocol) -> Judged:
    r"""Rate without a language model: the reference gets 10, the answer 1 + 9 F1.

    F1 is that of `token_overlap` between the words of answer and reference, so the rule knows no synonyms and no
    negations: it serves tests, laptops and sanity checks, and its scores are not comparable with a model's.
    """
    rated = {item.id: [(float(HIGHEST), _by_overlap(item))] * len(protocol.orders) for item in items}
    return Judged(protocol, items, rated, {})


def _by_overlap(item: ChatItem) -> float:
    return LOWEST + (HIGHEST - LOWEST) * token_overlap(item.reference, item.answer).f1


def judge_by_model(
    items: Sequence[ChatItem],
    protocol: JudgeProtocol,
    asker: Asker,
    throttle: Throttle,
    workers: int = 8,
    retries: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Judged:
    """Ask a language model about every question, in every order of the protocol.

    Args:
        items: with unique ids.
        protocol: how to ask.
        asker: model and journal; what the journal has is not asked.
        throttle: the model's.
        workers: calls at the same time.
        retries: attempts after a reply that cannot be used.
        advance: called after each call.

    Raises:
        CallError: if the server answers nothing more; everything paid is in the journal.
    """

    def work(call: Call) -> Outcome[Ratings]:
        item, swapped = call
        return asker.ask_checked(item.id, protocol.messages(item, swapped), protocol.read, retries)

    outcomes: dict[tuple[str, bool], Outcome[Ratings]] = {}
    with closing(ask_all(calls(items, protocol), work, workers, throttle.stop)) as results:
        for (item, swapped), outcome in results:
            outcomes[item.id, swapped] = outcome
            advance()
    ratings: dict[str, list[Ratings]] = {}
    failures = {}
    for item in items:
        mine = [(swapped, outcomes[item.id, swapped]) for swapped in protocol.orders]
        if failed := [outcome for _, outcome in mine if outcome.value is None]:
            failures[item.id] = f"{failed[0].kind}: {failed[0].reason}"
        else:
            ratings[item.id] = [o.value[::-1] if swapped else o.value for swapped, o in mine if o.value]
    return Judged(protocol, items, ratings, failures, sum(outcome.unusable for outcome in outcomes.values()))


def calls(items: Iterable[ChatItem], protocol: JudgeProtocol) -> list[Call]:
    """Every call that a protocol makes."""
    return [(item, swapped) for item in items for swapped in protocol.orders]


def expected_calls(items: Iterable[ChatItem], protocol: JudgeProtocol) -> list[tuple[str, Messages, int]]:
    """Sample id, messages and about 80 tokens of reply for every call, to estimate the cost."""
    return [(item.id, protocol.messages(item, swapped), 80) for item, swapped in calls(items, protocol)]


def write_judged(file: Path, chats: Mapping[str, Judged]) -> None:
    """Write one line a question: where it is from, both answers, and the ratings of each order or the failure.

    Args:
        file: JSON lines.
        chats: ratings by file of the answers.
    """
    rows = [
        {"path": path, "id": item.id, "type": item.kind, "domain": item.domain, "question": item.question,
         "reference": item.reference, "answer": item.answer, "ratings": judged.ratings.get(item.id, []),
         "failure": judged.failures.get(item.id, "")}
        for path, judged in chats.items()
        for item in judged.items
    ]  # fmt: skip
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
