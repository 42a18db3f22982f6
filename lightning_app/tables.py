"""What the commands print, as Rich tables."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_app.doctor import Check


def print_checks(checks: Sequence[Check]) -> None:
    """Print one row a check, then the repairs, each on a line of its own that can be copied."""
    table = Table("", "check", "found", title="MedGraph installation")
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("problem", "bold red")
        table.add_row(mark, check.name, Text(check.found))
    console = Console()
    console.print(table)
    for check in checks:
        if not check.ok:
            console.print(Text(f"repair {check.name}: {check.repair}"), soft_wrap=True)


def print_heads() -> None:
    """Print one row a registered alignment head."""
    from medgraph.alignment.options import head_options
    from medgraph.alignment.registry import HEADS, head_class

    table = Table("alignment=", "what it does", "alignment.<option>=default", title="Alignment heads")
    for name in HEADS:
        options = [field for field in dataclasses.fields(head_options(name)) if field.name != "name"]
        shown = ", ".join(f"{field.name}={_default(field)}" for field in options)
        summary = (inspect.getdoc(head_class(name)) or "").partition("\n")[0]
        table.add_row(name, Text(summary), Text(shown or "–"))
    Console().print(table)


def _default(field: dataclasses.Field[object]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
