"""What a chat model is: messages in, one reply out, and three ways to fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Messages = Sequence[Mapping[str, str]]
"""Turns with ``role`` (``system``, ``user``, ``assistant``) and ``content``."""

CHARACTERS_PER_TOKEN = 4
"""Of English text, roughly; used where nobody counts the tokens."""


class CallError(RuntimeError):
    """No answer: the server does not respond, refuses the key or the model, or has no credit. Nothing was paid."""


class RejectedError(CallError):
    """The server understood and does not accept this one request: too long, filtered, malformed."""


class StoppedError(Exception):
    """The program is ending; the call was not made."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was paid for.

    Attributes:
        text: what the model wrote.
        stop: why it stopped, as the server says: ``stop``, ``length``, ``content_filter`` …
        refusal: the server's own field for refusals; empty for none.
        prompt_tokens: tokens read.
        completion_tokens: tokens written.
        counted: False where the server did not count the tokens and they are estimated from the characters.
    """

    text: str
    stop: str = "stop"
    refusal: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = True


class ChatModel(Protocol):
    """Anything that answers messages; called from several threads at once."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """``model`` and whatever else the answer depends on: part of the journal's key."""

    def __call__(self, messages: Messages) -> Reply:
        """Answer.

        Raises:
            RejectedError: if this request is not accepted.
            CallError: if no request is.
            StoppedError: if the program is ending.
        """


def estimate_tokens(messages: Messages) -> int:
    """Tokens of messages, from their characters.

    Example:
        >>> estimate_tokens([{"role": "user", "content": "Where is the mass?"}])
        9
    """
    return sum(len(turn["content"]) // CHARACTERS_PER_TOKEN + 5 for turn in messages)
