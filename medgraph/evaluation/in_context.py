"""In-context learning: questions after demonstrations, as SMMILE asks them (arXiv:2506.21355).

A problem is a question with demonstrations that experts wrote for it. Asked are: how many demonstrations help, whether
their order matters, and what an irrelevant one costs. What needs no image stands beside every result: an answer drawn
from the demonstrations, and their majority.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from medgraph.data.conversation import IMAGE_MARK
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.statistics import cluster_bootstrap, wilson
from medgraph.llm.chat import Messages

Order = Literal["given", "relevant_first", "relevant_last"]

Generate = Callable[[Sequence[Any], str], str]
"""A model: images and a prompt with one ``<image>`` for each, to an answer."""

Judge = Callable[["Problem", str], str]
"""Problem and answer to ``1`` (right) or ``0``; anything else counts 0, as published, and as a failure of the judge."""


@dataclass(frozen=True, slots=True)
class Example:
    """An image with a question and its answer.

    Attributes:
        image: whatever the model understands.
        question: without image mark.
        answer: the truth.
        relevance: of a demonstration for its problem; larger is more relevant. None: not known.
    """

    image: Any
    question: str
    answer: str
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its demonstrations.

    Attributes:
        id: unique.
        demonstrations: in the order given.
        query: what is asked.
        group: what the interval resamples; problems that are permutations of one another have the same.
    """

    id: str
    demonstrations: tuple[Example, ...]
    query: Example
    group: str


def choose_demonstrations(problem: Problem, k: int | None = None, order: Order = "given") -> Problem:
    """Keep k demonstrations in an order.

    Args:
        problem: with any number of demonstrations.
        k: how many at most; None: all. The first ones are kept, but the most relevant one always where it decides.
        order: `given`, or with the most relevant one moved to the first or last place (of equals the first one).

    Raises:
        ValueError: for a negative k, or an order by relevance where it is not known.
    """
    shown = list(problem.demonstrations)
    if k is not None and k < 0:
        raise ValueError(f"k={k} demonstrations: expected 0 or more")
    if order == "given" or not shown:
        return replace(problem, demonstrations=tuple(shown[:k]))
    known = [example.relevance for example in shown if example.relevance is not None]
    if len(known) < len(shown):
        raise ValueError(f"problem {problem.id}: order={order} needs the relevance of every demonstration")
    best = shown.pop(known.index(max(known)))
    if k == 0:
        return replace(problem, demonstrations=())
    rest = shown if k is None else shown[: k - 1]
    return replace(problem, demonstrations=(best, *rest) if order == "relevant_first" else (*rest, best))


def add_irrelevant(problem: Problem, pool: Sequence[Problem], rng: np.random.Generator, last: bool = False) -> Problem:
    """Add a demonstration that belongs to another problem.

    Args:
        problem: what is disturbed.
        pool: where the demonstration comes from; problems of the same group are left out.
        rng: draws it.
        last: put it behind the others, next to the question, instead of before them.

    Raises:
        ValueError: if no other problem has a demonstration.
    """
    others = [example for other in pool if other.group != problem.group for example in other.demonstrations]
    if not others:
        raise ValueError(f"problem {problem.id}: no other problem has a demonstration to take")
    foreign = (others[int(rng.integers(len(others)))],)
    shown = (*problem.demonstrations, *foreign) if last else (*foreign, *problem.demonstrations)
    return replace(problem, demonstrations=shown)


def build_prompt(problem: Problem, end: str = "\n") -> tuple[list[Any], str]:
    """Images and text of a problem, in the layout MedVLM is trained with.

    Args:
        problem: all its demonstrations are shown.
        end: what ends an answer; for MedVLM the tokenizer's ``eos_token``.

    Raises:
        ValueError: if a text holds an image mark, which would ask for a further image.

    Example:
        >>> demonstration, query = Example("a.png", "Organ?", "lung"), Example("b.png", "Organ?", "liver")
        >>> images, text = build_prompt(Problem("1", (demonstration,), query, "1"), end="</s>")
        >>> print(images, text)
        ['a.png', 'b.png'] USER: <image>
        Organ? ASSISTANT: lung</s>USER: <image>
        Organ? ASSISTANT:
    """
    shown = [*problem.demonstrations, problem.query]
    if any(IMAGE_MARK in text for example in shown for text in (example.question, example.answer)):
        raise ValueError(f"problem {problem.id}: a question or an answer contains {IMAGE_MARK}; remove it")
    asked = [f"USER: {IMAGE_MARK}\n{example.question} ASSISTANT:" for example in shown]
    answers = [f" {example.answer}{end}" for example in problem.demonstrations]
    text = "".join(f"{question}{answer}" for question, answer in zip(asked, [*answers, ""], strict=True))
    return [example.image for example in shown], text


def exact_match(answer: str, prediction: str) -> bool:
    """Whether two texts are equal without case, ASCII punctuation and repeated blanks (SMMILE's exact match).

    Example:
        >>> exact_match("Left lung.", "left  lung"), exact_match("the lung", "lung")
        (True, False)
    """
    return _normal(answer) == _normal(prediction)


def _normal(text: str) -> str:
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())


def random_baseline(problem: Problem) -> float:
    """Chance that an answer drawn from the demonstrations is right (the expectation of SMMILE's random baseline)."""
    matches = [exact_match(problem.query.answer, example.answer) for example in problem.demonstrations]
    return sum(matches) / len(matches) if matches else 0.0


def majority_baseline(problem: Problem) -> float:
    """1 if the most frequent answer of the demonstrations is right, else 0; of equally frequent ones the first."""
    counts = Counter(example.answer for example in problem.demonstrations)
    return float(bool(counts) and exact_match(problem.query.answer, counts.most_common(1)[0][0]))


def judge_messages(problem: Problem, answer: str) -> Messages:
    """What a language model is asked when it judges an answer: one digit, in our words."""
    asked = (
        f"Question about a medical image: {problem.query.question}\nCorrect answer: {problem.query.answer}\n"
        f"Answer to be judged: {answer or '(no answer)'}\n"
        "Write 1 if the answer to be judged says the same as the correct one, else 0; this digit and nothing else."
    )
    return [{"role": "user", "content": asked}]


@dataclass(frozen=True, slots=True)
class InContextReport:
    """Results under one condition; shares with intervals over groups.

    Attributes:
        answers: by problem id.
        n: problems.
        shown: mean number of demonstrations.
        exact_match: share of exact matches.
        judged: share the judge finds right; None without a judge.
        judge_failures: replies of the judge that were neither 1 nor 0, counted 0.
        random: what an answer drawn from the demonstrations gets.
        majority: what their most frequent answer gets.
    """

    answers: dict[str, str]
    n: int
    shown: float
    exact_match: Estimate
    judged: Estimate | None
    judge_failures: int
    random: Estimate
    majority: Estimate


def evaluate_in_context(
    problems: Sequence[Problem],
    generate: Generate,
    judge: Judge | None = None,
    end: str = "\n",
    resamples: int = 10_000,
    seed: int = 0,
) -> InContextReport:
    """Ask every problem with the demonstrations it has.

    Args:
        problems: one condition, made by `choose_demonstrations` and `add_irrelevant`.
        generate: the model.
        judge: also asked about every answer.
        end: what ends an answer in the prompt.
        resamples: of the bootstrap over groups.
        seed: of the bootstrap.

    Raises:
        ValueError: without problems, or if ids repeat.
    """
    if not problems or len({problem.id for problem in problems}) < len(problems):
        raise ValueError(f"expected problems with unique ids, got {len(problems)} problems")
    groups = [problem.group for problem in problems]

    def figure(points: Sequence[float]) -> Estimate:
        value = float(np.mean(points))
        if value in (0, 1):  # resampling says nothing
            interval = wilson(value * len(set(groups)), len(set(groups)))
        else:
            interval = cluster_bootstrap(points, groups, np.random.default_rng(seed), resamples)
        return Estimate(value, interval.low, interval.high)

    answers = {problem.id: generate(*build_prompt(problem, end)) for problem in problems}
    verdicts = [judge(problem, answers[problem.id]).strip() for problem in problems] if judge else []
    return InContextReport(
        answers=answers,
        n=len(problems),
        shown=float(np.mean([len(problem.demonstrations) for problem in problems])),
        exact_match=figure([float(exact_match(p.query.answer, answers[p.id])) for p in problems]),
        judged=figure([float(verdict == "1") for verdict in verdicts]) if judge else None,
        judge_failures=sum(verdict not in ("0", "1") for verdict in verdicts),
        random=figure([random_baseline(problem) for problem in problems]),
        majority=figure([majority_baseline(problem) for problem in problems]),
    )
