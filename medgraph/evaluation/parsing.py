"""Which option did a generated answer choose? Anchored rules, and None where no rule is sure.

Published kits search for letters or option texts anywhere, fall back on string similarity or draw at random; here an
answer that names no option, or more than one, is a parse failure, which counts as wrong and is reported.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_ARTICLES = frozenset({"a", "an", "the"})
_NEGATIONS = frozenset({"no", "not", "without", "neither", "nor", "never", "isnt", "dont", "cannot"})
_PUNCTUATION = re.compile(r"(?<!\d)[.,]|[.,](?!\d)|[^\w\s.,%+<>=/]|_")


@lru_cache(maxsize=65536)
def normalise(text: str) -> str:
    """Bring an answer to the form in which the strict protocol compares it.

    Unicode NFKC, lower case, apostrophes dropped, every other punctuation mark a space (so ``x-ray`` is ``x ray``)
    except ``. ,`` between digits and ``% + < > = /``, articles (a, an, the) dropped unless nothing else is left,
    spaces collapsed. Numbers are not turned into words or back.

    Example:
        >>> normalise("The left  lung."), normalise("X-ray"), normalise("2.5 cm"), normalise("A")
        ('left lung', 'x ray', '2.5 cm', 'a')
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("’", "")
    words = _PUNCTUATION.sub(" ", text).split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def parse_choice(text: str, options: Sequence[str]) -> int | None:
    """Find the option an answer chooses.

    The first rule that applies decides: (1) the whole answer is an option; (2) it is a letter (a bare ``a`` is an
    article, ``A`` and ``a.`` are not); (3) it starts with a letter followed by that option's text, or by a mark and no
    other option or letter; (4) it says "answer is" or "answer:" and what follows fits 1 to 3; (5) exactly one option
    occurs as whole words, with no negation and no other option's letter beside it.

    Args:
        text: the generated answer.
        options: 1 to 26 option texts in the order shown; the first is A.

    Returns:
        The index of the option, or None for a parse failure.

    Raises:
        ValueError: if there are no options or more than letters.

    Example:
        >>> [parse_choice(text, ["benign", "malignant"]) for text in ("B", "(a)", "It is benign.", "a cyst", "A or B")]
        [1, 0, 0, None, None]
    """
    if not 1 <= len(options) <= 26:
        raise ValueError(f"a choice question needs 1 to 26 options, got {len(options)}")
    wanted = [normalise(option) for option in options]
    text = unicodedata.normalize("NFKC", text).strip()
    anchored = _anchored(text, wanted)
    if anchored is not None:
        return anchored
    said = re.split(r"\banswer\s*(?:is|:)\s*(?:option\s*)?", text, flags=re.IGNORECASE)
    if len(said) == 2 and (anchored := _anchored(said[1].strip(), wanted)) is not None:
        return anchored
    mentioned = _only_mention(normalise(text), wanted)
    marked = set(re.findall(r"\b([A-Z])[).:\]]", text)) & set(string.ascii_uppercase[: len(wanted)])
    return mentioned if mentioned is not None and marked <= {string.ascii_uppercase[mentioned]} else None


def _anchored(text: str, wanted: Sequence[str]) -> int | None:
    """Rules 1 to 3: the answer is an option or its letter, or begins with the letter."""
    whole = normalise(text)
    if whole and wanted.count(whole) == 1:
        return wanted.index(whole)
    match = re.match(r"\W*([A-Za-z])(?![\w'’])\s*([).:\]]|-\s)?\W*(.*)", text, flags=re.DOTALL)
    if not match:
        return None
    letter, mark, rest = match.groups()
    index = string.ascii_uppercase.index(letter.upper())
    if index >= len(wanted):
        return None
    if not rest:
        return None if letter == "a" and not mark else index
    if normalise(rest) == wanted[index]:
        return index
    letters = set(re.findall(r"\b[A-Z]\b", rest)) & set(string.ascii_uppercase[: len(wanted)])
    others = [i for i, option in enumerate(wanted) if i != index and _mentions(normalise(rest), option)]
    return index if mark and not others and letters <= {letter.upper()} else None


def _only_mention(text: str, wanted: Sequence[str]) -> int | None:
    """Rule 5; an option inside a longer mentioned option ("cancer" in "no cancer") is not a mention of its own."""
    found = [i for i, option in enumerate(wanted) if _mentions(text, option)]
    found = [i for i in found if not any(i != j and _mentions(wanted[j], wanted[i]) for j in found)]
    if len(found) != 1:
        return None
    around = f" {text} ".replace(f" {wanted[found[0]]} ", " ").split()
    return None if _NEGATIONS.intersection(around) else found[0]


def _mentions(text: str, option: str) -> bool:
    return bool(option) and f" {option} " in f" {text} "
