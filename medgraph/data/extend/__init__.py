"""Extended answers: from templates while reading, or written once by a language model (`medgraph extend`)."""

from __future__ import annotations

from medgraph.data.extend.templates import Extension, extend_answer, extend_reply

__all__ = ["Extension", "extend_answer", "extend_reply"]
