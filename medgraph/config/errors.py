"""The error of a wrong configuration, and the suggestion that ends its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
