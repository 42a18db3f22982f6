"""Judging chatbot answers: a language model or a rule rates, every failure is counted, every score has an interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medgraph.evaluation.chatbot import HIGHEST, LOWEST, ChatItem, JudgeProtocol, Ratings
from medgraph.evaluation.scoring import token_overlap
from medgraph.evaluation.statistics import Interval, cluster_bootstrap
from medgraph.llm.ask import Asker, Outcome, ask_all
from medgraph.llm.chat import Messages
from medgraph.llm.throttle import Throttle

RESAMPLES = 10_000

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
        retries: replies that could not be used and were asked for again.
    """

    protocol: JudgeProtocol
    items: Sequence[ChatItem]
    ratings: Mapping[str, Sequence[Ratings]]
    failures: Mapping[str, str]
    retries: int = 0


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
    return Judged(protocol, items, ratings, failures, sum(outcome.retries for outcome in outcomes.values()))


def calls(items: Iterable[ChatItem], protocol: JudgeProtocol) -> list[Call]:
    """Every call that a protocol makes."""
    return [(item, swapped) for item in items for swapped in protocol.orders]


def expected_calls(items: Iterable[ChatItem], protocol: JudgeProtocol) -> list[tuple[str, Messages, int]]:
    """Sample id, messages and about 80 tokens of reply for every call, to estimate the cost."""
    return [(item.id, protocol.messages(item, swapped), 80) for item, swapped in calls(items, protocol)]


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Ratings of a group of questions.

    Attributes:
        n: questions.
        judged: questions with ratings.
        score: mean over the judged questions of 100 · answer / reference, per cent of the reference's rating.
        interval: of the score, over images; NaN for fewer than two.
        reference: mean rating of the reference.
        answer: mean rating of the answer.
        lowest: the score if the questions without ratings counted 0.
    """

    n: int
    judged: int
    score: float
    interval: Interval
    reference: float
    answer: float
    lowest: float


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """Scores of one chatbot.

    Attributes:
        path: file of its answers.
        protocol: name of the protocol.
        judge: model, or `RULE`.
        groups: ``overall``, then types and domains, by their names.
        failures: number of questions without ratings by reason.
        retries: replies asked for again.
        order_effect: mean rating of what is shown first minus what is shown second, over answers and references; 0 for
            a fair judge, None where there is one order only.
        notes: what a reader must know.
    """

    path: str
    protocol: str
    judge: str
    groups: Mapping[str, GroupScore]
    failures: Mapping[str, int]
    retries: int
    order_effect: float | None
    notes: Sequence[str] = field(default_factory=tuple)


def relative_score(question: str, ratings: Sequence[Ratings]) -> float:
    """Score of one question: 100 times the answer's ratings over the reference's, both summed over the orders.

    Raises:
        ValueError: if the reference is rated 0, naming the question.

    Example:
        >>> relative_score("7", [(8, 4), (10, 5)])
        50.0
    """
    reference, answer = (sum(pair[i] for pair in ratings) for i in (0, 1))
    if reference <= 0:
        raise ValueError(f"question {question}: the reference is rated {reference:g}, so there is no relative score; "
                         f"ratings must be from {LOWEST} to {HIGHEST}")  # fmt: skip
    return 100 * answer / reference


def summarise_judged(judged: Judged, path: str, judge: str, resamples: int = RESAMPLES, seed: int = 0) -> JudgeReport:
    """Score a chatbot overall, by type of question and by domain.

    Args:
        judged: the ratings.
        path: file of the answers, for the report.
        judge: who rated, for the report.
        resamples: of the bootstrap over images.
        seed: of the bootstrap.

    Raises:
        ValueError: if nothing was judged.
    """
    if not judged.ratings:
        reason = next(iter(judged.failures.values()), "there are no questions")
        raise ValueError(f"{path}: no answer could be judged; {reason}")
    names = [name for item in judged.items for name in (item.kind, item.domain)]
    groups = {"overall": list(judged.items)} | {name: [] for name in sorted(set(names))}
    for item in judged.items:
        for name in dict.fromkeys((item.kind, item.domain)):
            groups[name].append(item)
    scores = {
        name: _score_group(members, judged.ratings, resamples, np.random.default_rng(seed))
        for name, members in groups.items()
    }
    notes = []
    size = judged.protocol.size
    if size and len(judged.items) != size:
        notes.append(f"{judged.protocol.name} was published on {size} questions, these are {len(judged.items)}")
    kinds = Counter(reason.partition(":")[0] for reason in judged.failures.values())
    return JudgeReport(path, judged.protocol.name, judge, scores, kinds, judged.retries, _order_effect(judged), notes)


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


def _score_group(
    items: Sequence[ChatItem], ratings: Mapping[str, Sequence[Ratings]], resamples: int, rng: np.random.Generator
) -> GroupScore:
    rated = [item for item in items if item.id in ratings]
    if not rated:
        nan = float("nan")
        return GroupScore(len(items), 0, nan, Interval(nan, nan), nan, nan, nan)
    scores = [relative_score(item.id, ratings[item.id]) for item in rated]
    interval = cluster_bootstrap(scores, [item.image_id for item in rated], rng, resamples)
    reference, answer = np.mean([pair for item in rated for pair in ratings[item.id]], axis=0)
    lowest = sum(scores) / len(items)
    return GroupScore(len(items), len(rated), float(np.mean(scores)), interval, float(reference), float(answer), lowest)


def _order_effect(judged: Judged) -> float | None:
    if len(judged.protocol.orders) < 2:
        return None
    ahead = [
        (second - first if swapped else first - second)
        for pairs in judged.ratings.values()
        for swapped, (first, second) in zip(judged.protocol.orders, pairs, strict=True)
    ]
    return float(np.mean(ahead))
