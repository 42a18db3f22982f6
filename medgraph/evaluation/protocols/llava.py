"""The scorers of the LLaVA-Med family: LLaVA-Med v1.0 (run_eval*.py) and ExGra-Med, which most papers report.

What they call things is not what the words mean: their *exact match* is a precision over distinct words, their
*recall* lets words of the answer count as often as the answer repeats them, and a closed answer is right as soon as the
truth occurs anywhere in it as a substring ("no" in "normal"). Dumping the training vocabulary scores 87.5.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.protocols.protocol import Candidates, Protocol, Values, is_open
from medgraph.evaluation.protocols.text import sentence_bleu

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0", **{word: str(i) for i, word in enumerate(_DIGITS)}}
_ARTICLES = frozenset({"a", "an", "the"})
_PERIODS_REMOVED = 32
"""The scripts pass ``re.UNICODE`` (32) where a count is expected, so only 32 full stops are removed."""

_CONTRACTIONS = """
ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't oughtn't shan't
shouldn't wasn't weren't won't wouldn't could've might've must've not've should've would've we've they've you've what've
where've he'd how'd it'd someone'd something'd there'd they'd where'd who'd you'd how'll it'll somebody'll someone'll
something'll they'll what'll who'll why'll you'll he's how's somebody's someone's that's there's what's when's where's
who's why's there're they're what're why're you're ma'am o'clock y'all 'twas
couldn't've hadn't've mightn't've shouldn't've wouldn't've he'd've it'd've she'd've somebody'd've someone'd've
something'd've there'd've they'd've we'd've who'd've you'd've y'all'll y'all'd've 'ow's'at
"""
_APOSTROPHES = {  # the scripts restore one lost apostrophe
    word[:i] + word[i + 1 :]: word for word in _CONTRACTIONS.split() for i, letter in enumerate(word) if letter == "'"
}
_APOSTROPHES["somebody'd"] = "somebodyd"  # as published


@lru_cache(maxsize=65536)
def normalise_llava(text: str) -> str:
    """Normalise an answer as ``normalize_word`` of LLaVA-Med does.

    Each mark of a fixed list is deleted everywhere if it touches a space anywhere in the text, or if the text has a
    comma between digits, else replaced by a space; then full stops not before a digit go, number words become digits,
    articles are dropped, apostrophes restored, commas deleted.

    Example:
        >>> normalise_llava("X-ray"), normalise_llava("x-ray - chest"), normalise_llava("None"), normalise_llava("a")
        ('x ray', 'xray chest', '0', '')
    """
    digits = re.search(r"\d,\d", text) is not None
    changed = text
    for mark in _MARKS:
        touches = f"{mark} " in text or f" {mark}" in text
        changed = changed.replace(mark, "" if touches or digits else " ")
    changed = re.sub(r"\.(?!\d)", "", changed, count=_PERIODS_REMOVED)
    words = [_NUMBERS.get(word, word) for word in changed.lower().split()]
    return " ".join(_APOSTROPHES.get(word, word) for word in words if word not in _ARTICLES).replace(",", "")


def overlap_figures(truth: str, said: str) -> dict[str, float]:
    """Their exact match, precision, recall and F1 over words; both texts are normalised once more."""
    reference, answer = (Counter(normalise_llava(text).split()) for text in (truth, said))
    hits = sum(count for word, count in answer.items() if word in reference)
    exact = len(reference.keys() & answer.keys()) / answer.total() if answer else 0.0
    if not hits:
        return {"exact_match": exact, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    missed = sum(count for word, count in reference.items() if word not in answer)
    precision, recall = hits / answer.total(), hits / (hits + missed)
    f1 = 2 * precision * recall / (precision + recall)
    return {"exact_match": exact, "precision": precision, "recall": recall, "f1": f1}


@lru_cache(maxsize=65536)
def _open_figures(truth: str, said: str) -> dict[str, float]:
    """Overlap figures and single-order BLEU of an open question; both texts are normalised."""
    words, answer = truth.split(), said.split()
    orders = {"bleu": (0.25,) * 4, "bleu1": (1.0,), "bleu2": (0.0, 1.0), "bleu3": (0.0, 0.0, 1.0)}
    bleu = {name: sentence_bleu(words, answer, weights) for name, weights in orders.items()}
    return overlap_figures(truth, said) | bleu


def _both(prediction: Prediction) -> tuple[str, str]:
    return normalise_llava(prediction.answer.lower()), normalise_llava(prediction.prediction.lower())


@lru_cache(maxsize=8)
def _candidate_words(candidates: Candidates) -> list[tuple[str, frozenset[str]]]:
    """Normalised candidates with their words (normalised again when they are compared)."""
    normalised = [normalise_llava(answer) for answer in candidates.answers]
    return [(answer, frozenset(answer.lower().split())) for answer in normalised]


@lru_cache(maxsize=65536)
def _nearest_candidate_hit(truth: str, said: str, candidates: Candidates) -> float | None:
    """Whether the training answer that the prediction covers best (first of equals) is the truth; None without any."""
    if not candidates.answers:
        return None
    words = set(normalise_llava(said).split())
    covered = [(len(w & words) / len(w) if w else 0.0, answer) for answer, w in _candidate_words(candidates)]
    best = max(range(len(covered)), key=lambda i: covered[i][0])
    return float(covered[best][1] == normalise_llava(truth))


def _exgra(prediction: Prediction, candidates: Candidates) -> Values:
    truth, said = _both(prediction)
    if is_open(prediction):
        return {**_open_figures(truth, said), "open_accuracy": _nearest_candidate_hit(truth, said, candidates)}
    return {"closed_accuracy": float(truth in said)}


def _batch(prediction: Prediction, candidates: Candidates) -> Values:
    truth, said = _both(prediction)
    if is_open(prediction):
        return {**_open_figures(truth, said), "open_accuracy": float(truth in said)}
    return {"closed_accuracy": float(truth in said), "closed_recall": overlap_figures(truth, said)["recall"]}


def _llava_med_v1(prediction: Prediction, candidates: Candidates) -> Values:
    truth, said = _both(prediction)
    if is_open(prediction):
        return _exgra(prediction, candidates)
    return {"closed_accuracy": float(("yes" in said or "no" in said) and truth in said)}


def _pvqa_legacy(prediction: Prediction, candidates: Candidates) -> Values:
    truth, said = _both(prediction)
    if is_open(prediction):
        return _exgra(prediction, candidates)
    if "yes" not in said and "no" not in said:
        return {"closed_accuracy": 0.0}
    return {"closed_accuracy": 1.0 if truth in said else None}


_AVERAGE = ("recall", "closed_accuracy")

LLAVA_PROTOCOLS = (
    Protocol("exgra", "ExGra-Med run_eval.py", "closed: truth is a substring of the answer", _exgra, _AVERAGE, True),
    Protocol("exgra_batch", "ExGra-Med run_eval_batch.py", "open and closed: substring", _batch, _AVERAGE, True),
    Protocol(
        "llava_med_v1", "LLaVA-Med v1.0 run_eval.py", "closed: substring, and only if the answer contains yes or no",
        _llava_med_v1, _AVERAGE, True,
    ),
    Protocol(
        "llava_med_v1_batch", "LLaVA-Med v1.0 run_eval_batch.py", "open and closed: substring", _batch, _AVERAGE, True,
    ),
    Protocol(
        "pvqa_legacy", "run_eval_pvqa.py of both", "closed: wrong answers that contain yes or no are not counted",
        _pvqa_legacy, _AVERAGE, True,
    ),
)  # fmt: skip
