"""The error of a wrong configuration, the suggestion that ends its message, and long lists in it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ConfigError(ValueError):
    """A mistake in what the user asked for; the command line prints its one line and exits with code 2."""


def suggest(word: str, known: Iterable[str]) -> str:
    """End of a message about an unknown word: the closest known word, or all of them.

    Example:
        >>> suggest("exgrah", ["exgra", "none"]), suggest("lift", ["exgra", "none"])
        ("; did you mean 'exgra'?", '; known: exgra, none')
    """
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def first_few(texts: Sequence[str], limit: int = 5, separator: str = ", ") -> str:
    """The first of many, and how many more there are.

    Example:
        >>> first_few(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return separator.join(texts[:limit]) + more
