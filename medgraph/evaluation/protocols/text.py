"""Sentence BLEU and ROUGE as the published scorers compute them.

torchmetrics implements the metrics as their papers define them; the scorers use NLTK's sentence BLEU, where an order
without a match counts as the smallest positive float, and the ``rouge`` package, which works on sets of n-grams. To
reproduce published figures these two must be followed, so they are written here from their definition.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_TINY = sys.float_info.min


def sentence_bleu(truth: Sequence[str], said: Sequence[str], weights: Sequence[float]) -> float:
    """BLEU of one sentence against one reference without smoothing, as in NLTK.

    Args:
        truth: words of the reference.
        said: words of the answer.
        weights: of the n-gram orders 1, 2, …

    Returns:
        A share in [0, 1]; 0 without a common word.
    """
    precisions = [_clipped_precision(truth, said, order) for order in range(1, len(weights) + 1)]
    if not precisions[0]:
        return 0.0
    brevity = 1.0 if len(said) > len(truth) else math.exp(1 - len(truth) / len(said))
    logs = (weight * math.log(precision or _TINY) for weight, precision in zip(weights, precisions, strict=True))
    return brevity * math.exp(math.fsum(logs))


def rouge(truth: str, said: str) -> dict[str, float]:
    """F scores of ROUGE-1, ROUGE-2 and summary-level ROUGE-L over sets, as in the ``rouge`` package 1.0.

    Args:
        truth: reference; sentences end at full stops.
        said: answer.

    Returns:
        ``rouge1``, ``rouge2`` and ``rougel`` in [0, 1]; all 0 where either side has no sentence.
    """
    reference, answer = _sentences(truth), _sentences(said)
    if not reference or not answer:
        return {"rouge1": 0.0, "rouge2": 0.0, "rougel": 0.0}
    scores = {}
    for order in (1, 2):
        grams, answer_grams = (_ngrams(tuple(_words(part)), order).keys() for part in (reference, answer))
        scores[f"rouge{order}"] = _f_score(len(grams & answer_grams), len(grams), len(answer_grams))
    found: set[str] = set()
    for sentence in reference:
        for other in answer:
            found |= _common_subsequence(sentence.split(" "), other.split(" "))
    scores["rougel"] = _f_score(len(found), len(set(_words(reference))), len(set(_words(answer))))
    return scores


def _clipped_precision(truth: Sequence[str], said: Sequence[str], order: int) -> float:
    counts = _ngrams(tuple(said), order)
    matches = sum(min(count, counts[gram]) for gram, count in _ngrams(tuple(truth), order).items())
    return matches / max(1, len(said) - order + 1)


@lru_cache(maxsize=16384)
def _ngrams(words: tuple[str, ...], order: int) -> Counter[tuple[str, ...]]:
    return Counter(words[i : i + order] for i in range(len(words) - order + 1))


def _sentences(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split(".") if part]


def _words(sentences: Sequence[str]) -> list[str]:
    return [word for sentence in sentences for word in sentence.split(" ")]


def _f_score(common: int, reference: int, answer: int) -> float:
    precision = common / answer if answer else 0.0
    recall = common / reference if reference else 0.0
    return 2 * precision * recall / (precision + recall + 1e-8)


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """Words of a longest common subsequence; among several the one found from the end, preferring to drop `second`."""
    length = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first, start=1):
        for j, b in enumerate(second, start=1):
            length[i][j] = length[i - 1][j - 1] + 1 if a == b else max(length[i - 1][j], length[i][j - 1])
    words, i, j = set(), len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            words.add(first[i - 1])
            i, j = i - 1, j - 1
        elif length[i - 1][j] > length[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words
