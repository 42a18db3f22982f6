"""The commands of ``medgraph cg``: which subsets recombine to a target, and experiments on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from medgraph.console import user_errors

cg = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Study compositional generalization.")


@cg.command("list")
def list_(
    target: Annotated[
        list[str] | None, typer.Option(metavar="SUBSET", help="Number, key or m/a/t; repeatable.")
    ] = None,
    direction: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Direction; repeatable.")] = None,
    registry: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Subsets of your own to add.")] = None,
    paper: Annotated[bool, typer.Option(help="Only combinations that a published row can mean.")] = False,
    detection: Annotated[
        bool, typer.Option("--detection", help="Those with a detection or segmentation subset instead of the others.")
    ] = False,
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
        found = enumerate_combinations(
            subsets,
            direction or DIRECTIONS,  # type: ignore[arg-type]  # checked there
            detection=detection,
        )
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


@cg.command()
def suggest(
    target: Annotated[str, typer.Option(metavar="SUBSET", help="Number, key or m/a/t.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[data=… data.root=… …]", help="Data to choose from [the registry].")
    ] = None,
    registry: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Subsets of your own to add to the registry.")
    ] = None,
    studies: Annotated[
        list[Path] | None, typer.Option("--from", metavar="FOLDER", help="Of a study that ran; repeatable.")
    ] = None,
    pick: Annotated[int, typer.Option(metavar="N", help="Subsets in a set, 2 or 3.")] = 2,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="Training images at most.")] = 3000,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Suggestions to print.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank the subsets, and sets of them, that should help a target, with the evidence.

    By shared elements, size, the published rows of Med-MAT, and what finished studies measured.
    """
    from lightning_app.tables import show, show_json
    from medgraph.cg import suggest as advice
    from medgraph.cg.finished import read_gains
    from medgraph.cg.relations import subset_of
    from medgraph.cg.suggested import table_of
    from medgraph.config import ConfigError
    from medgraph.data.registry import builtin, from_yaml
    from medgraph.data.subsets import read_pool

    with user_errors(ValueError):
        capacity = None
        if settings:
            if registry is not None:
                raise ConfigError(f"--registry {registry}: with data, subsets.yaml beside it says the same")
            sources, rest = _sources(settings)
            if rest:
                raise ConfigError(f"{rest[0]}: nothing trains here; leave it out")
            pool = read_pool(sources)
            subsets, spec = pool.registry, subset_of(pool.registry, target)
            capacity = {key: pool.capacity(key, spec.key) for key in pool.records}
        else:
            subsets = builtin() if registry is None else from_yaml(registry)
            spec = subset_of(subsets, target)
        found = advice.suggest(subsets, spec, capacity, read_gains(studies or ()), pick, images, top)
    if as_json:
        show_json(dataclasses.asdict(found))
    else:
        show(table_of(found))


@cg.command()
def plan(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where plan and runs go.")],
    settings: Annotated[
        list[str], typer.Argument(metavar="data=… data.root=… …", help="The data, and overrides for every run.")
    ],
    target: Annotated[list[str] | None, typer.Option(metavar="SUBSET", help="Repeatable [all].")] = None,
    related: Annotated[
        list[str] | None, typer.Option(metavar="SUBSET", help="Combine these for the one target; repeatable.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Repeatable [combination].")] = None,
    direction: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of combinations; repeatable [all].")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of combinations; repeatable, or all [the paper's].")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Of every arm.")] = 5,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="Training images of an arm at most.")] = 3000,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Combinations of each direction, evenly from all.")
    ] = None,
    backbone: Annotated[
        list[str] | None, typer.Option(metavar="NAME:KEY=VALUE,…", help="Repeat all with these overrides; repeatable.")
    ] = None,
) -> None:
    """List every run of a study before anything trains, and save the list.

    Kinds: combination, detection, break, overlap, low_data, scale, multi_task. Conditions: zero_shot and baseline_plus,
    as in the paper, alone, label_shuffled, only_modality, only_area, only_task, target, placebo; related is always
    there.
    """
    from lightning_app.tables import show
    from medgraph.cg.experiments import CONDITIONS, PAPER_CONDITIONS
    from medgraph.cg.plan import make_plan
    from medgraph.cg.planned import table_of

    with user_errors(ValueError):
        sources, overrides = _sources(settings)
        made = make_plan(
            sources,
            kinds=kind or ["combination"],  # type: ignore[arg-type]  # checked there
            targets=target or (),
            related=related or (),
            directions=direction or (),  # type: ignore[arg-type]  # checked there
            conditions=CONDITIONS if condition == ["all"] else condition or PAPER_CONDITIONS,
            seeds=seeds,
            images=images,
            backbones=dict(map(_backbone, backbone)) if backbone else None,
            overrides=overrides,
            limit=limit,
        )
        made.save(folder)
        show(table_of(folder, made))
    typer.echo(f"next: medgraph cg run {folder}")


@cg.command()
def run(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of a plan.")],
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Runs at a time.")] = 1,
) -> None:
    """Run what a plan lists and is not done, then write the report; any number of processes may share the folder.

    Interrupted runs continue, those of a killed process are taken up by the others.
    """
    from rich.console import Console

    from medgraph.cg.execute import run_plan
    from medgraph.report.cg_page import write_cg_report
    from medgraph.report.cg_study import CgStudy

    with user_errors(ValueError):
        run_plan(folder, workers, Console())
        page = write_cg_report(CgStudy.read(folder)).page
    typer.echo(page)


@cg.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of a plan.")],
    scoring: Annotated[
        str, typer.Option(metavar="NAME", help="likelihood: the most likely of the known answers; or generated.")
    ] = "likelihood",
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers instead.")] = False,
) -> None:
    """Judge what has finished of a plan: verdicts, tables and figures.

    Writes report.html, tables/ and summary.json into the folder, at any time, also while it runs.
    """
    from lightning_app.tables import show, show_json
    from medgraph.report.cg_page import terminal, write_cg_report
    from medgraph.report.cg_study import CgStudy

    with user_errors(ValueError):
        written = write_cg_report(CgStudy.read(folder, scoring))  # type: ignore[arg-type]  # checked there
    if as_json:
        show_json(written.summary)
    else:
        show(terminal(written))
        typer.echo(written.page)


def _sources(settings: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """``data=NAME data.KEY=VALUE`` as one source, ``data=mixture data.sources=[…]`` as several; the other arguments."""
    import yaml  # type: ignore[import-untyped]

    from medgraph.config import ConfigError

    source: dict[str, Any] = {}
    rest = []
    for setting in settings:
        key, equals, value = setting.lstrip("-").partition("=")
        if not equals:
            raise ConfigError(f"{setting}: expected key=value")
        if key == "data":
            source["name"] = value
        elif key.startswith("data."):
            source[key.removeprefix("data.")] = value
        else:
            rest.append(setting)
    if "name" not in source:
        raise ConfigError("no data: add data=NAME data.root=PATH, e.g. data=phantom")
    if source["name"] != "mixture":
        return [source], rest
    text = source.get("sources", "")
    try:
        listed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"data.sources={text}: not valid YAML: {' '.join(str(error).split())}") from error
    named = isinstance(listed, list) and all(isinstance(one, dict) and "name" in one for one in listed)
    if not named or len(source) > 2 or any({"count", "splits"} & one.keys() for one in listed):
        raise ConfigError(f"data=mixture data.sources={text}: expected a list of sources without count and splits, "
                          "e.g. 'data.sources=[{name: medmat, root: PATH}, {name: masks, root: PATH, …}]'")  # fmt: skip
    return listed, rest


def _backbone(text: str) -> tuple[str, list[str]]:
    """``NAME:KEY=VALUE,KEY=VALUE``."""
    from medgraph.config import ConfigError

    name, colon, overrides = text.partition(":")
    if not name or not colon or "=" not in overrides:
        raise ConfigError(f"backbone {text!r}: expected NAME:KEY=VALUE,…, e.g. qwen:model.vlm=/models/qwen2-vl")
    return name, overrides.split(",")
