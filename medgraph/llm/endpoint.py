"""A chat model behind an endpoint that speaks OpenAI's protocol: OpenAI, Azure, vLLM, Ollama, llama.cpp, LM Studio."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from medgraph.config import ConfigError
from medgraph.llm.chat import CHARACTERS_PER_TOKEN, CallError, Messages, RejectedError, Reply, estimate_tokens
from medgraph.llm.throttle import Throttle

RETRIES = 6
LONGEST_BACKOFF = 60.0
"""Seconds, without a word from the server."""
LONGEST_WAIT = 600.0
"""Seconds; a server that asks for more is not waited for: the job can be continued later."""


class Endpoint:
    """Asks a server, and asks again when it is overloaded or silent.

    Time-outs, lost connections, unreadable answers, 408, 409, 429 and 5xx are tried again after twice the time of the
    attempt before, with jitter, or after what ``Retry-After`` says, for which every thread waits. 400, 413 and 422 are
    about one request; everything else (key, model, credit) about all of them.

    Args:
        settings: what a request holds besides the messages: ``model``, and ``temperature``, ``max_tokens``,
            ``response_format`` … where they are not left to the server.
        throttle: shared by all calls.
        timeout: seconds without an answer.
        retries: attempts after the first.
        rng: of the jitter.

    Base URL and key come from ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; a server of one's own needs no key.

    Raises:
        ConfigError: without the ``openai`` package, or without a key for OpenAI's own server.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        throttle: Throttle,
        timeout: float = 120.0,
        retries: int = RETRIES,
        rng: random.Random | None = None,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError("asking an endpoint needs the openai package: pip install 'medgraph[llm]'") from error
        base_url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
        if not (base_url or key):
            raise ConfigError("neither OPENAI_API_KEY nor OPENAI_BASE_URL is set; export the key, or the address of a "
                              "server of your own, such as http://localhost:8000/v1")  # fmt: skip
        self._client = openai.OpenAI(api_key=key or "none", base_url=base_url, max_retries=0, timeout=timeout)
        self._retries, self._rng, self.throttle = retries, rng or random.Random(), throttle
        self.settings: Mapping[str, Any] = dict(settings)

    def __call__(self, messages: Messages) -> Reply:
        """Ask until there is an answer.

        Raises:
            RejectedError: if the server does not accept these messages.
            CallError: if it accepts nothing, or all attempts failed.
            StoppedError: if the program is ending.
        """
        for attempt in range(self._retries + 1):
            self.throttle.wait()
            try:
                return self._ask(messages)
            except _AgainError as again:
                if again.seconds > LONGEST_WAIT:
                    raise CallError(f"the server asks to wait {again.seconds:.0f} s: {again}") from again
                if attempt == self._retries:
                    raise CallError(f"{self._retries + 1} attempts failed, the last one: {again}") from again
                if again.seconds:
                    self.throttle.pause(again.seconds)
                else:
                    self.throttle.sleep(min(LONGEST_BACKOFF, 2.0**attempt) * self._rng.uniform(0.5, 1))
        raise AssertionError("unreachable")

    def _ask(self, messages: Messages) -> Reply:
        import openai

        request: Any = {"messages": [dict(turn) for turn in messages], **self.settings}
        try:
            return _reply(self._client.chat.completions.create(**request), messages)
        except openai.APIConnectionError as error:
            raise _AgainError(f"{type(error).__name__}: {error}") from error
        except openai.APIStatusError as error:
            told = f"HTTP {error.status_code}: {_first_line(error)}"
            if error.status_code in (400, 413, 422):
                raise RejectedError(told) from error
            exhausted = error.code == "insufficient_quota"
            if (error.status_code in (408, 409, 429) or error.status_code >= 500) and not exhausted:
                raise _AgainError(told, _retry_after(error.response.headers)) from error
            raise CallError(told) from error
        except (openai.APIError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise _AgainError(f"unreadable answer ({type(error).__name__}: {_first_line(error)})") from error


class _AgainError(Exception):
    """An attempt that failed and may be repeated, after `seconds` if the server said so."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


def _reply(completion: Any, messages: Messages) -> Reply:
    choice, usage = completion.choices[0], completion.usage
    text, refusal = choice.message.content or "", getattr(choice.message, "refusal", None) or ""
    counted = usage is not None and usage.prompt_tokens is not None
    return Reply(
        text=text,
        stop=choice.finish_reason or "stop",
        refusal=refusal,
        prompt_tokens=usage.prompt_tokens if counted else estimate_tokens(messages),
        completion_tokens=usage.completion_tokens if counted else len(text) // CHARACTERS_PER_TOKEN + 1,
        counted=counted,
    )


def _retry_after(headers: Any) -> float:
    """Seconds the server asks to wait, as a number or a date; 0 if it says nothing that can be read."""
    told = headers.get("retry-after", "")
    try:
        return max(float(told), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(told).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
