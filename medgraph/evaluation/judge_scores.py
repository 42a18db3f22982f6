"""Scores from a judge's ratings, each with its interval over images, and what has no rating beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medgraph.evaluation.chatbot import HIGHEST, LOWEST, ChatItem, Ratings
from medgraph.evaluation.judge import Judged
from medgraph.evaluation.statistics import RESAMPLES, Difference, Interval, cluster_bootstrap


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
        judge: model, or `medgraph.evaluation.judge.RULE`.
        groups: ``overall``, then types and domains, by their names.
        failures: number of questions without ratings by reason.
        unusable: replies that could not be used.
        order_effect: mean rating of what is shown first minus what is shown second, over answers and references; 0 for
            a fair judge, None where there is one order only.
        notes: what a reader must know.
        versus: difference of the overall score to the first chatbot's; None for the first, or without common ones.
    """

    path: str
    protocol: str
    judge: str
    groups: Mapping[str, GroupScore]
    failures: Mapping[str, int]
    unusable: int
    order_effect: float | None
    notes: Sequence[str]
    versus: Difference | None = None


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
    return JudgeReport(path, judged.protocol.name, judge, scores, kinds, judged.unusable, _order_effect(judged), notes)


def judged_difference(first: Judged, second: Judged, resamples: int = RESAMPLES, seed: int = 0) -> Difference | None:
    """Compare two chatbots on the questions for which both have ratings.

    Args:
        first: the reference.
        second: the other chatbot, judged under the same protocol.
        resamples: of the bootstrap over images.
        seed: of the bootstrap.

    Returns:
        Difference of the scores, ``second - first``, in points, with its interval and without a test; None if they
        share no rated question.
    """
    common = [item for item in first.items if item.id in first.ratings and item.id in second.ratings]
    if not common:
        return None
    deltas = [
        relative_score(item.id, second.ratings[item.id]) - relative_score(item.id, first.ratings[item.id])
        for item in common
    ]
    images = [item.image_id for item in common]
    interval = cluster_bootstrap(deltas, images, np.random.default_rng(seed), resamples)
    return Difference(float(np.mean(deltas)), interval.low, interval.high, math.nan, "", len(common))


def _score_group(
    items: Sequence[ChatItem], ratings: Mapping[str, Sequence[Ratings]], resamples: int, rng: np.random.Generator
) -> GroupScore:
    rated = [item for item in items if item.id in ratings]
    if not rated:
        return GroupScore(len(items), 0, math.nan, Interval(math.nan, math.nan), math.nan, math.nan, math.nan)
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
