"""Terminal tables of ``medgraph probe``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.probes import ProbeResult
from medgraph.report.words import interval, percent


def render_probes(
    probes: Sequence[ProbeResult], retrieval: Mapping[str, Mapping[str, Estimate]] | None
) -> RenderableType:
    """One table for the probes, one for retrieval where the model has text nodes."""
    first = probes[0]
    title = f"Probes of frozen features: {first.n:,} test images, {first.classes} classes; %, 95 % intervals"
    tables = [_table(title, {p.probe: p.figures for p in probes})]
    if retrieval:
        tables.append(
            _table("Retrieval between image and answer nodes of the test split; %, 95 % intervals", retrieval)
        )
    return Group(*tables)


def _table(title: str, rows: Mapping[str, Mapping[str, Estimate]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for name in next(iter(rows.values())):
        table.add_column(name.replace("_", " "), justify="right")
    for name, figures in rows.items():
        cells = [f"{percent(figure.value)}\n[dim]{interval(figure)}[/dim]" for figure in figures.values()]
        table.add_row(name.replace("_", " "), *cells)
    return table
