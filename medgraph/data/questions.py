"""Choice questions as released: options and letter out of the text, and back."""

from __future__ import annotations

import re
from functools import lru_cache

_OPTION = re.compile(r"^\s*([A-Z])\s*[:.)]\s*(.+?)\s*$")


def parse_choice(text: str) -> tuple[str, ...]:
    r"""Options of a released choice question.

    Args:
        text: the question in the first line, then one option a line (``A: …``, ``A. …``, ``A) …``), then instructions.

    Returns:
        The options in order.

    Raises:
        ValueError: if there are fewer than two options, letters out of order, or an option twice.

    Example:
        >>> parse_choice("What is it?\nA: Cyst\nB: Stone\nAnswer with the option's letter.")
        ('Cyst', 'Stone')
    """
    return _parse_options(text.partition("\n")[2])


@lru_cache(maxsize=1 << 14)
def _parse_options(text: str) -> tuple[str, ...]:
    """Options in the lines after the question; remembered, because a subset has few orders of few labels."""
    matches = [match for line in text.splitlines() if (match := _OPTION.match(line))]
    letters = "".join(match[1] for match in matches)
    options = tuple(match[2] for match in matches)
    if len(options) < 2:
        raise ValueError(f"{len(options)} options")
    if letters != "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(letters)]:
        raise ValueError(f"options lettered {letters}")
    if len({same(option) for option in options}) < len(options):
        raise ValueError("an option that occurs twice")
    return options


@lru_cache(maxsize=1 << 16)
def same(text: str) -> str:
    """Form in which two spellings of one label are equal: lower case, single blanks, no blank around commas.

    Example:
        >>> same("  Pleural effusion ,Edema") == same("pleural  effusion, edema")
        True
    """
    return re.sub(r"\s*,\s*", ", ", " ".join(text.lower().split()))
