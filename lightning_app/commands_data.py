"""The commands of ``medgraph data``: browse what there is, find what is wrong with it, find what has leaked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medgraph.console import user_errors

data = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Browse, check and audit data.")

Reader = Annotated[str, typer.Option(metavar="NAME", help="Reader, if the path does not tell.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.json", help="Also write every finding as JSON.")]
Element = Annotated[str | None, typer.Option(metavar="NAME")]


@data.command("list")
def list_(
    modality: Element = None,
    area: Element = None,
    task: Element = None,
    only_open: Annotated[
        bool, typer.Option("--only-open", help="Only data sets that can be downloaded without an account.")
    ] = False,
) -> None:
    """List the subsets of Med-MAT."""
    from lightning_app.tables import show
    from medgraph.data.browse import list_subsets
    from medgraph.data.registry import builtin
    from medgraph.data.vocabulary import AREAS, MODALITIES, TASKS

    with user_errors(ValueError):
        registry = builtin().open_part() if only_open else builtin()
        found = registry.filter(
            modality=modality and MODALITIES.canonical(modality),
            area=area and AREAS.canonical(area),
            task=task and TASKS.canonical(task),
        )
    show(list_subsets(found))


@data.command()
def matrix() -> None:
    """Show which areas and modalities the subsets of Med-MAT combine."""
    from lightning_app.tables import show
    from medgraph.data.browse import matrix as table
    from medgraph.data.registry import builtin

    show(table(builtin()))


@data.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="phantom, a subset (number or modality/area/task), or a path.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Contact sheet [phantom: sheet.png].")] = None,
    side: Annotated[int, typer.Option(min=32, max=1024, help="Pixels a side of one image.")] = 96,
    reader: Reader = "",
) -> None:
    """Show the phantom, a subset of Med-MAT, or the data at a path.

    The phantom is a contact sheet: one image of every modality and area. A subset is what is known about it. Data is
    images by subset and split, and with --out a contact sheet.
    """
    from lightning_app.tables import show
    from medgraph.config import ConfigError
    from medgraph.data import browse
    from medgraph.data.registry import builtin

    if name == "phantom":
        typer.echo(_phantom_sheet(out or Path("sheet.png"), side))
    elif Path(name).exists():
        from lightning_app.sources import open_source

        corpus = open_source(Path(name), reader).corpus
        show(browse.show_corpus(corpus, builtin()))
        if out:
            typer.echo(browse.contact_sheet(corpus, out, side=side))
    else:
        try:
            spec = builtin()[name]
        except (KeyError, ValueError) as error:
            raise ConfigError(f"data show {name}: neither phantom nor a path, and {error.args[0]}") from error
        show(browse.show_subset(spec, builtin()))


@data.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder or file of a data set.")],
    reader: Reader = "",
    quarantine: Annotated[bool, typer.Option("--quarantine", help="List bad images in quarantine.txt.")] = False,
    out: Out = None,
) -> None:
    """Find everything that is wrong with a data set: every record, every image.

    Exit code 1 if there is something. With data.on_error=quarantine a run leaves out what --quarantine lists.
    """
    from lightning_app.sources import IMAGES, MEDMAT, find_reader, open_source
    from lightning_app.tables import show
    from medgraph.data.check import check_corpus, check_folder, check_release, write_quarantine

    name = find_reader(path, reader)
    if name == MEDMAT:
        report = check_release(path)
    elif name == IMAGES:
        report = check_folder(path)
    else:
        source = open_source(path, name)
        report = check_corpus(source.corpus, source.root)
    show(report.render())
    if quarantine:
        typer.echo(write_quarantine(report))
    if out:
        report.write(out)
    raise typer.Exit(code=0 if report.ok else 1)


@data.command()
def audit(
    paths: Annotated[list[Path], typer.Argument(metavar="A [B …]", help="Folders or files of data sets.")],
    reader: Reader = "",
    near: Annotated[bool, typer.Option("--near/--no-near", help="Also compare appearance (slow).")] = True,
    out: Out = None,
) -> None:
    """Find pictures, patients and groups that two splits, subsets or data sets share.

    Exit code 1 if two splits do.
    """
    from lightning_app.sources import open_source, side_by_side
    from lightning_app.tables import show
    from medgraph.data.audit import audit as compare

    source = side_by_side({path: open_source(path, reader) for path in paths})
    report = compare(source.corpus, source.root, sources=source.sources, near=near)
    show(report.render())
    if out:
        report.write(out)
    raise typer.Exit(code=0 if report.clean else 1)


def _phantom_sheet(out: Path, side: int) -> Path:
    """Write the contact sheet of every modality, area and finding."""
    from medgraph.config import PhantomConfig
    from medgraph.data.phantom import AREAS, FINDINGS, MODALITIES, build_phantom, contact_sheet

    all_of_them = PhantomConfig(
        num_train=2000, num_modalities=len(MODALITIES), num_areas=len(AREAS), num_findings=len(FINDINGS)
    )
    contact_sheet(build_phantom(all_of_them), out, side)
    return out
