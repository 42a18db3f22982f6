"""Choice questions beyond one generated answer: scores over the options, and circular evaluation.

A letter's log-likelihood needs no parsing and no luck; asking with the options rotated shows whether an answer depends
on the image or on the position of an option.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medgraph.evaluation.parsing import parse_choice


def rotations(options: Sequence[str]) -> list[tuple[str, ...]]:
    """Every cyclic order of the options, the given one first.

    Example:
        >>> rotations(["a", "b", "c"])
        [('a', 'b', 'c'), ('b', 'c', 'a'), ('c', 'a', 'b')]
    """
    return [(*options[i:], *options[:i]) for i in range(len(options))]


def circular_points(
    options: Sequence[Sequence[str]], truth: Sequence[str], said: Sequence[Sequence[str]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Score generated answers to all rotations.

    Args:
        options: of each question, in the given order.
        truth: the right option of each question.
        said: of each question one answer a rotation, in the order of `rotations`.

    Returns:
        (N,) points in [0, 1] by figure: ``accuracy``, right in the given order; ``circular``, right in every order, for
        which random answers give the mean of k^-k; ``consistent``, the same option in every order, right or wrong;
        ``unparsed``, the share of a question's answers without a clear option.

    Raises:
        ValueError: if a question does not have one answer for every rotation.
    """
    rows = []
    for shown, answer, texts in zip(options, truth, said, strict=True):
        orders = rotations(shown)
        if len(texts) != len(orders):
            raise ValueError(f"a question with {len(orders)} options needs {len(orders)} answers, got {len(texts)}")
        indices = [parse_choice(text, order) for text, order in zip(texts, orders, strict=True)]
        chosen = [None if i is None else order[i] for i, order in zip(indices, orders, strict=True)]
        right = [option == answer for option in chosen]
        consistent = len(set(chosen)) == 1 and chosen[0] is not None
        rows.append((right[0], all(right), consistent, chosen.count(None) / len(chosen)))
    names = ("accuracy", "circular", "consistent", "unparsed")
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, len(names)).T, strict=True))


def best_options(scores: npt.ArrayLike, counts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Option with the highest score among those a question has.

    Args:
        scores: (N, K) log-likelihoods of the letters A, B …
        counts: (N,) number of options of each question, 1 to K.

    Returns:
        (N,) index of the option; the first of equals.

    Raises:
        ValueError: for a question with more options than scores, or a score that is NaN.
    """
    table = np.array(scores, dtype=np.float64)
    limits = np.asarray(counts)
    if (limits < 1).any() or (limits > table.shape[1]).any():
        raise ValueError(f"questions have 1 to {table.shape[1]} scored options, got {limits.min()} to {limits.max()}")
    if np.isnan(table).any():
        raise ValueError("option scores contain NaN")
    table[np.arange(table.shape[1])[None] >= limits[:, None]] = -math.inf
    return np.argmax(table, axis=1)


@dataclass(frozen=True, slots=True)
class ConfusionPairs:
    """Pairs of images with the same question and options but different answers (MediConfusion, arXiv:2409.15477).

    Attributes:
        n: pairs.
        set_accuracy: both answers right; 25 % for random answers to two options.
        individual: share of single answers that are right.
        confusion: the same option chosen for both images; 50 % for random answers.
    """

    n: int
    set_accuracy: float
    individual: float
    confusion: float


def confusion_pairs(pairs: Sequence[str], chosen: Sequence[str | None], truth: Sequence[str]) -> ConfusionPairs:
    """Score paired questions.

    Args:
        pairs: name of the pair of each question; every name occurs twice.
        chosen: option chosen, None for a parse failure (wrong, and never confused).
        truth: right option.

    Raises:
        ValueError: naming a pair that does not have two questions.
    """
    members: dict[str, list[tuple[str | None, str]]] = defaultdict(list)
    for name, option, answer in zip(pairs, chosen, truth, strict=True):
        members[name].append((option, answer))
    if wrong := [name for name, answers in members.items() if len(answers) != 2]:
        raise ValueError(f"pair {wrong[0]!r} has {len(members[wrong[0]])} questions instead of 2")

    def share(test: Callable[[list[tuple[str | None, str]]], float]) -> float:
        return float(np.mean([test(answers) for answers in members.values()])) if members else math.nan

    return ConfusionPairs(
        len(members),
        share(lambda a: a[0][0] == a[0][1] and a[1][0] == a[1][1]),
        share(lambda a: ((a[0][0] == a[0][1]) + (a[1][0] == a[1][1])) / 2),
        share(lambda a: a[0][0] is not None and a[0][0] == a[1][0]),
    )
