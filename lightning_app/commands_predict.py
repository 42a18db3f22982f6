"""``medgraph ask`` and ``medgraph predict``: answers of a trained model to one question, or to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medgraph.console import user_errors

if TYPE_CHECKING:
    from rich.table import Table

    from medgraph.training.asking import Answer
    from medgraph.training.trained import Trained

Model = Annotated[str, typer.Argument(metavar="RUN|MODEL", help="Folder of a run, or a whole Hugging Face model.")]
Longest = Annotated[int, typer.Option(min=1, metavar="N", help="Longest answer, in tokens.")]


def ask(
    model: Model,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Picture, DICOM or NIfTI file.")],
    question: Annotated[str, typer.Argument(metavar='"QUESTION"', help="In quotes.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)] = None,
    options: Annotated[list[str] | None, typer.Option(metavar="A B …", help="The answers to choose from.")] = None,
    max_new_tokens: Longest = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a trained model about an image.

    With --options A B C also prints how likely the model finds each of them.
    """
    from dataclasses import asdict

    from lightning_app.tables import show, show_json
    from medgraph.config import ConfigError
    from medgraph.training.asking import answer_question

    if more and not options:
        raise ConfigError(f"unexpected {more[0]!r} behind the question {question!r}: put the question in quotes, and "
                          "--options before the answers to choose from")  # fmt: skip
    offered = [*(options or ()), *(more or ())]
    trained = _load(model)
    with user_errors(ValueError):
        answer = answer_question(trained.vlm, trained.tokens, image, question, offered, max_new_tokens)
    if as_json:
        show_json({**asdict(answer), "chosen": None if answer.chosen is None else offered[answer.chosen]})
        return
    typer.echo(answer.text if answer.chosen is None else f"{answer.text} ({offered[answer.chosen]})")
    if offered:
        show(_likelihoods(answer, offered))


def predict(
    model: Model,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="Where answers go; continued if it exists.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="data=…", help="Other data than the run's.")] = None,
    split: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Repeatable [test].")] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Questions a split.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Questions a batch.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Longest answer, in tokens [as in the run].")
    ] = None,
    likelihood: Annotated[bool, typer.Option(help="Also score the allowed answers.")] = True,
    controls: Annotated[bool, typer.Option(help="Also ask without the image, and with another.")] = False,
) -> None:
    """Answer the questions of a data set; the same command continues what was interrupted.

    `medgraph score` reads the file.
    """
    from medgraph.config import ConfigError, ExperimentConfig, parse
    from medgraph.data import build_corpus
    from medgraph.training.answers import Asking, answer_corpus
    from medgraph.training.prepare import answer_tokens
    from medgraph.training.trained import saved_config

    for override in overrides or ():
        if not override.lstrip("-").startswith(("data=", "data.")):
            raise ConfigError(f"{override}: only the data can be changed: data=NAME, data.root=PATH …")
    if not overrides and not _is_run(model):
        raise ConfigError(f"{model} is no run, which would know its data; add data=NAME data.root=PATH")
    config = parse(saved_config(Path(model)) if _is_run(model) else ExperimentConfig(), overrides or ())
    splits = tuple(split or ("test",))
    trained = _load(model)
    with user_errors(ValueError):
        corpus = build_corpus(config.data)
        longest = answer_tokens(corpus, splits, trained.tokens, config.eval.max_new_tokens)
        asking = Asking(splits, limit, batch_size or config.eval.batch_size, max_new_tokens or longest, likelihood,
                        controls)  # fmt: skip
        predictions = answer_corpus(trained.vlm, trained.tokens, corpus, out, asking)
    typer.echo(f"{out}: {len(predictions)} answers; medgraph score {out}")


def _is_run(model: str) -> bool:
    """Runs are folders without a config.json; what is not there is one too, unless a hub could have it."""
    folder = Path(model)
    return not (folder / "config.json").exists() if folder.exists() else model.count("/") > 1


def _load(model: str) -> Trained:
    """The model, on the GPU if there is one; stages that have not ended are told on standard error."""
    import torch

    from medgraph.training.logging import quiet
    from medgraph.training.trained import load_trained, load_whole_model

    quiet()
    trained = load_trained(Path(model)) if _is_run(model) else load_whole_model(model)
    if trained.unfinished:
        typer.echo(f"{model}: without {', '.join(trained.unfinished)}, which has not finished", err=True)
    trained.vlm.to("cuda" if torch.cuda.is_available() else "cpu")
    return trained


def _likelihoods(answer: Answer, options: list[str]) -> Table:
    """One row an option: the share of its letter among all letters, and both log-likelihoods."""
    import numpy as np
    from rich.table import Table
    from rich.text import Text

    table = Table("", "option", "share", "log p(letter)", "log p(text)")
    shares = np.exp(answer.logprobs - np.logaddexp.reduce(answer.logprobs))
    rows = zip(options, shares, answer.logprobs, answer.text_logprobs, strict=True)
    for number, (option, share, letter, text) in enumerate(rows):
        table.add_row(chr(ord("A") + number), Text(option), f"{share:.1%}", f"{letter:.2f}", f"{text:.2f}")
    return table
