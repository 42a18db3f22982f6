"""The commands of ``medgraph runs``: what was run, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

LIST = "list"


class _ListByDefault(TyperGroup):
    """``medgraph runs FOLDER`` is ``medgraph runs list FOLDER``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing and args[:1] != ["--help"] and (not args or args[0] not in self.commands):
            args = [LIST, *args]
        return super().parse_args(ctx, args)


runs = typer.Typer(cls=_ListByDefault, rich_markup_mode=None, help="List and compare runs; without a command, list.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@runs.command(LIST)
def list_(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Runs below it.")] = Path("runs"),
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="finished, running, interrupted, failed or broken; repeatable [all]."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of the configuration, * for anything; repeatable, all must hold."),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="NAME", help="written, run, state, method, steps, result, seed or training.")
    ] = "written",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    as_json: Json = False,
) -> None:
    """List the runs of every kind below a folder, with state and main result.

    The last written come first. A run that cannot be read is listed as broken, with the reason.
    """
    from typing import get_args

    from lightning_app.tables import show, show_json
    from medgraph.config import ConfigError
    from medgraph.report.runs import State, find_runs
    from medgraph.report.runs_chosen import choose_runs
    from medgraph.report.runs_tables import render_runs, runs_as_json

    for name in state or ():
        if name not in get_args(State):
            raise ConfigError(f"--state {name}: expected one of {', '.join(get_args(State))}")
    chosen = choose_runs(find_runs(folder), state or (), where or (), sort, reverse)
    if as_json:
        show_json(runs_as_json(chosen))
    else:
        show(render_runs(chosen, folder))


@runs.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="A B …", help="Folders of runs of any kind and state.")],
    as_json: Json = False,
) -> None:
    """Compare runs with the first: what differs in configuration, data and environment, and the results.

    Where all runs have answers, differences are paired by question, as in `medgraph compare`.
    """
    from lightning_app.tables import show, show_json
    from medgraph.report.runs_compared import compare_runs
    from medgraph.report.runs_tables import differences_as_json, render_differences

    differences = compare_runs(folders)
    if as_json:
        show_json(differences_as_json(differences))
    else:
        show(render_differences(differences))
