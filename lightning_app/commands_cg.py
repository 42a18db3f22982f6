"""The commands of ``medgraph cg``: which subsets recombine to a target."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from medgraph.console import user_errors

cg = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Study compositional generalization.")


@cg.callback()
def _group() -> None:
    """Keep ``list`` a subcommand while it is the only one."""


@cg.command("list")
def list_(
    target: Annotated[
        list[str] | None, typer.Option(metavar="SUBSET", help="Number, key or m/a/t; repeatable.")
    ] = None,
    direction: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Direction; repeatable.")] = None,
    registry: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Subsets of your own to add.")] = None,
    paper: Annotated[bool, typer.Option(help="Only combinations that a published row can mean.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the combinations of related subsets for every target, or for some.

    Directions: fixed_modality, fixed_area, fixed_task, modality_area_pair, three_source.
    """
    from lightning_app.tables import show, show_json
    from medgraph.cg.combinations import DIRECTIONS, enumerate_combinations
    from medgraph.cg.listing import table_of
    from medgraph.cg.published import rows_of
    from medgraph.config import ConfigError
    from medgraph.data.registry import builtin, from_yaml

    with user_errors(ValueError):
        subsets = builtin() if registry is None else from_yaml(registry)
        try:
            targets = [subsets[name].no for name in target or ()]
        except KeyError as error:
            raise ConfigError(error.args[0]) from error
        found = enumerate_combinations(subsets, direction or DIRECTIONS)  # type: ignore[arg-type]  # checked there
    found = [
        combination
        for combination in found
        if (not targets or combination.target in targets) and (not paper or rows_of(combination, subsets))
    ]
    if as_json:
        show_json(
            [{**dataclasses.asdict(c), "published": [f"{r.table}.{r.row}" for r in rows_of(c, subsets)]} for c in found]
        )
    else:
        show(table_of(found, subsets))
