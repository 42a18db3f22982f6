"""What commands that ask a language model have in common: options, the model itself, progress, cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medgraph.console import FAILED, INTERRUPTED, fail, how_to_continue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from medgraph.llm.ask import Asker, Price, Usage
    from medgraph.llm.chat import ChatModel, Messages
    from medgraph.llm.throttle import Throttle

Model = Annotated[str, typer.Option(metavar="NAME", help="As the server knows it, or folder of a local model.")]
Workers = Annotated[int, typer.Option(min=1, help="Calls at the same time.")]
PerMinute = Annotated[float | None, typer.Option(metavar="N", help="At most N requests a minute.")]
Retries = Annotated[int, typer.Option(min=0, help="Attempts after an answer that cannot be used.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="Without an answer, the call is repeated.")]
Temperature = Annotated[float, typer.Option(help="Of sampling; negative: the server's.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Longest answer [default: the server's].")]
JsonMode = Annotated[bool, typer.Option("--json-mode", help="Let the server enforce JSON; not all can.")]
PriceIn = Annotated[float, typer.Option(metavar="PRICE", help="Of a million tokens read.")]
PriceOut = Annotated[float, typer.Option(metavar="PRICE", help="Of a million tokens written.")]


@contextmanager
def session(
    chat: ChatModel, file: Path, what: str, total: int, price: Price
) -> Iterator[tuple[Asker, Callable[[], None]]]:
    """Ask with a journal and a progress bar; when the user or the server ends it, one line says how to go on.

    Args:
        chat: the model.
        file: the journal.
        what: title of the bar.
        total: number of steps.
        price: for the bar.

    Yields:
        What asks, and a function to be called after each step.
    """
    from medgraph.llm.ask import Asker
    from medgraph.llm.chat import CallError
    from medgraph.llm.journal import Journal
    from medgraph.progress import bar

    kept = f"{file} keeps every answer; {how_to_continue()}"
    with Journal(file) as journal:
        asker = Asker(chat, journal)

        def step() -> None:
            cost = price.of(asker.usage.prompt_tokens, asker.usage.completion_tokens)
            advance(note=f"cost {cost:.2f}" if cost else "")

        try:
            with bar(what, total) as advance:
                yield asker, step
        except KeyboardInterrupt:
            fail(f"interrupted; {kept}", INTERRUPTED)
        except CallError as error:
            fail(f"error: {error}; {kept}", FAILED)


def spent(usage: Usage, price: Price) -> str:
    """Calls, tokens and cost in one line."""
    line = (f"{usage.calls:,} calls, {usage.recalled:,} answers from the journal; {usage.prompt_tokens:,} tokens read, "
            f"{usage.completion_tokens:,} written")  # fmt: skip
    if usage.estimated:
        line += f" (estimated for {usage.estimated:,} calls)"
    cost = price.of(usage.prompt_tokens, usage.completion_tokens)
    return f"{line}; cost {cost:.4f}" if price.prompt or price.completion else line


def estimated(calls: Iterable[tuple[str, Messages, int]], settings: dict[str, Any], file: Path, price: Price) -> str:
    """What the calls would cost, in two lines; `file` is the journal, if there is one."""
    from medgraph.llm.ask import estimate
    from medgraph.llm.journal import Journal

    with Journal(file) if file.exists() else nullcontext() as journal:
        expected = estimate(calls, settings, journal)
    read, written = f"{expected.prompt_tokens:,}", f"{expected.completion_tokens:,}"
    lines = (f"{expected.calls:,} calls to {settings['model']}, {expected.recorded:,} are recorded\n"
             f"about {read} tokens read, {written} written, without retries")  # fmt: skip
    cost = price.of(expected.prompt_tokens, expected.completion_tokens)
    return f"{lines}; cost {cost:.4f}" if price.prompt or price.completion else lines


def settings(with_: str, model: str, temperature: float, max_tokens: int | None, json_mode: bool) -> dict[str, Any]:
    """What requests hold besides the messages.

    Raises:
        ConfigError: if a model is to be asked and none is named.
    """
    from medgraph.config import ConfigError

    if with_ in ("api", "local") and not model:
        raise ConfigError(f"--with {with_} needs --model: the name the server knows, or a folder")
    optional = {
        "temperature": None if temperature < 0 else temperature,
        "max_tokens": max_tokens,
        "response_format": {"type": "json_object"} if json_mode else None,
    }
    return {"model": model, **{name: value for name, value in optional.items() if value is not None}}


def open_model(local: bool, settings: dict[str, Any], throttle: Throttle, timeout: float) -> ChatModel:
    """The model behind OPENAI_BASE_URL, or a local one."""
    if local:
        from medgraph.llm.local import LocalChat

        return LocalChat(settings["model"], settings.get("max_tokens", 1024))
    from medgraph.llm.endpoint import Endpoint

    return Endpoint(settings, throttle, timeout)
