"""``medgraph extend``: long answers for instruction data, from templates or a language model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightning_app import asking

if TYPE_CHECKING:
    from medgraph.data.extend.conversations import Conversation
    from medgraph.data.extend.job import Extended

Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE", help="Conversation files or data sets.")]
Out = Annotated[Path, typer.Option(metavar="FILE.json", help="What to write.")]
With = Annotated[Literal["template", "api", "local"], typer.Option("--with", help="Who writes the long answers.")]


def extend(
    sources: Sources,
    out: Out,
    with_: With = "template",
    model: asking.Model = "",
    reader: Annotated[str, typer.Option(metavar="NAME", help="Reader, if the path does not tell.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first conversations.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count calls, tokens and cost; call nobody.")] = False,
    price_in: asking.PriceIn = 0.0,
    price_out: asking.PriceOut = 0.0,
    workers: asking.Workers = 8,
    per_minute: asking.PerMinute = None,
    retries: asking.Retries = 2,
    timeout: asking.Timeout = 120.0,
    temperature: asking.Temperature = -1.0,
    max_tokens: asking.MaxTokens = None,
    json_mode: asking.JsonMode = False,
) -> None:
    """Write long answers (conversations_long) for instruction data.

    --with api asks the server of OPENAI_BASE_URL with the key OPENAI_API_KEY, --with local a causal language model on
    this machine. Answers are kept in FILE.journal.jsonl, so the same command continues and pays nothing twice.
    """
    from medgraph.data.extend import job
    from medgraph.data.extend.conversations import write_long
    from medgraph.llm.ask import Price
    from medgraph.llm.throttle import Throttle

    settings = asking.settings(with_, model, temperature, max_tokens, json_mode)
    root, conversations = _read(sources, reader)
    conversations = conversations[:limit]
    price, journal = Price(price_in, price_out), out.with_suffix(".journal.jsonl")
    if dry_run:
        typer.echo(asking.estimated(job.expected_calls(conversations), settings, journal, price))
    elif with_ == "template":
        result = job.extend_by_template(conversations)
        write_long(out, conversations, result.long)
        _report(out, root, conversations, result)
    else:
        throttle, todo = Throttle(per_minute), sum(not conversation.long for conversation in conversations)
        chat = asking.open_model(with_ == "local", settings, throttle, timeout)
        with asking.session(chat, journal, "extending", todo, price) as (asker, advance):
            result = job.extend_by_model(conversations, asker, throttle, workers, retries, advance)
        write_long(out, conversations, result.long)
        job.write_problems(_problems(out), result.problems)
        _report(out, root, conversations, result)
        typer.echo(asking.spent(asker.usage, price))


def _read(sources: list[Path], reader: str) -> tuple[Path, list[Conversation]]:
    """All conversations, and the folder their images are below; of a corpus, those of its training split."""
    from lightning_app.sources import find_reader, open_source
    from medgraph.config import ConfigError
    from medgraph.data.extend.conversations import from_file, from_records, join
    from medgraph.data.images import image_root
    from medgraph.data.readers.conversations import image_folder

    found: list[tuple[Path, list[Conversation]]] = []
    for path in sources:
        if find_reader(path, reader) == "conversations":
            found.append((image_folder(path), from_file(path)))
            continue
        corpus = open_source(path, reader).corpus
        if not any(record.answer for record in corpus.splits.get("train", ())):
            raise ConfigError(f"{path} has no training questions to extend")
        found.append((image_root(corpus.load_image) or path, from_records(corpus.splits["train"])))
    return join(found)


def _report(out: Path, root: Path, conversations: list[Conversation], result: Extended) -> None:
    """Print what was written and what is missing in it."""
    done = [conversation for conversation in conversations if conversation.id in result.long]
    long = [text for conversation in done for text in result.long[conversation.id]]
    short = [record.answer for conversation in done for record in conversation.records]
    typer.echo(f"{out}: {len(conversations):,} conversations, {len(done):,} of them with long answers")
    if done:
        words = [sum(len(text.split()) for text in texts) / len(texts) for texts in (short, long)]
        typer.echo(f"{len(long):,} answers grew from {words[0]:.1f} to {words[1]:.1f} words on average")
    if kept := sum(bool(conversation.long) for conversation in conversations):
        typer.echo(f"{kept:,} conversations had long answers and keep them")
    if result.unusable:
        typer.echo(f"{result.unusable:,} replies could not be used")
    if result.problems:
        kinds = Counter(outcome.kind for _, outcome in result.problems)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        typer.echo(f"without long answers: {listed}; see {_problems(out)}")
    typer.echo(f"train on it: data=conversations data.root={out} data.images={root}")


def _problems(out: Path) -> Path:
    return out.with_suffix(".problems.jsonl")
