"""Docstrings as the site reads them: their few marks of reStructuredText become Markdown."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

FORMULA = re.compile(r"^\.\. math::((?:.*\n?)(?:(?:[ \t]+\S.*)(?:\n|$))*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")
REFERENCE = re.compile(r":(?:class|func|meth|mod):`([\w.]+)`")


class Markdown(Extension):
    """Rewrite docstrings before they are parsed."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called for everything that may have a docstring."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Formulas, references, and the section of examples, which Griffe knows in the plural only."""
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    text = FORMULA.sub(lambda found: f"$$\n{' '.join(found[1].split())}\n$$\n", text)
    return REFERENCE.sub(lambda found: reference(found[1]), INLINE.sub(r"$\1$", text))


def reference(name: str) -> str:
    """A link where the name is complete, code where it is not."""
    return f"[`{name.rpartition('.')[2]}`][{name}]" if name.startswith("medgraph.") else f"`{name}`"
