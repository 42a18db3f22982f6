"""``medgraph judge``: a language model, or a rule, rates the answers of chatbots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightning_app import asking
from medgraph.console import user_errors

if TYPE_CHECKING:
    from medgraph.evaluation.judge import Judged
    from medgraph.evaluation.judge_scores import JudgeReport

Answers = Annotated[list[Path], typer.Argument(metavar="ANSWERS", help="Prediction or answer files, or run folders.")]
Questions = Annotated[Path | None, typer.Option(metavar="Q.jsonl", help="Questions and references for answer files.")]
With = Annotated[Literal["rule", "api", "local"], typer.Option("--with", help="Who judges.")]


def judge(
    answers: Answers,
    questions: Questions = None,
    protocol: Annotated[str, typer.Option(metavar="NAME", help="both_orders or llava_med_chat.")] = "both_orders",
    with_: With = "rule",
    model: asking.Model = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE.jsonl", help="Also write every rating.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count calls, tokens and cost; call nobody.")] = False,
    price_in: asking.PriceIn = 0.0,
    price_out: asking.PriceOut = 0.0,
    workers: asking.Workers = 8,
    per_minute: asking.PerMinute = None,
    retries: asking.Retries = 2,
    timeout: asking.Timeout = 120.0,
    temperature: asking.Temperature = 0.0,
    max_tokens: asking.MaxTokens = None,
    json_mode: asking.JsonMode = False,
) -> None:
    """Let a judge rate a chatbot's answers against references.

    --with rule needs no model: the words that answer and reference share. Ratings of a model are kept in
    ANSWERS.judge.journal.jsonl, so the same command continues and pays nothing twice.
    """
    from medgraph.evaluation.chatbot import judge_protocol, read_chat
    from medgraph.evaluation.judge import RULE, expected_calls, judge_by_model, judge_by_rule, write_judged
    from medgraph.evaluation.judge_scores import judged_difference, summarise_judged
    from medgraph.evaluation.score_cli import PREDICTIONS
    from medgraph.llm.ask import Price
    from medgraph.llm.throttle import Throttle

    settings = asking.settings(with_, model, temperature, max_tokens, json_mode)
    files = [path / PREDICTIONS if path.is_dir() else path for path in answers]
    price, throttle = Price(price_in, price_out), Throttle(per_minute)
    with user_errors(ValueError):
        rules = judge_protocol(protocol)
        chats = {file: read_chat(file, questions) for file in files}
    if dry_run:
        for file, items in chats.items():
            typer.echo(f"{file}: {asking.estimated(expected_calls(items, rules), settings, _journal(file), price)}")
        return
    chat = None if with_ == "rule" else asking.open_model(with_ == "local", settings, throttle, timeout)
    judged: list[Judged] = []
    for file, items in chats.items():
        if chat is None:
            judged.append(judge_by_rule(items, rules))
            continue
        total = len(items) * len(rules.orders)
        with asking.session(chat, _journal(file), f"judging {file.name}", total, price) as (asker, advance):
            judged.append(judge_by_model(items, rules, asker, throttle, workers, retries, advance))
        typer.echo(f"{file}: {asking.spent(asker.usage, price)}", err=True)
    if out:
        write_judged(out, dict(zip(map(str, files), judged, strict=True)))
    with user_errors(ValueError):
        reports = [summarise_judged(j, str(file), model or RULE) for file, j in zip(files, judged, strict=True)]
        for i in range(1, len(reports)):
            reports[i] = replace(reports[i], versus=judged_difference(judged[0], judged[i]))
    _show(reports, as_json)


def _journal(file: Path) -> Path:
    return file.with_suffix(".judge.journal.jsonl")


def _show(reports: list[JudgeReport], as_json: bool) -> None:
    from lightning_app.tables import show, show_json
    from medgraph.evaluation.plain import to_plain
    from medgraph.report.judgements import render_judged

    if as_json:
        show_json(to_plain(reports))
    else:
        for report in reports:
            show(render_judged(report))
