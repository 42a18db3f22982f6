"""What the commands print, as Rich tables."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lightning_app.doctor import Check

PIPE_WIDTH = 160
"""Columns of tables that go to a file or another program, unless COLUMNS says otherwise."""


def show(content: RenderableType) -> None:
    """Print to standard output, as wide as the terminal."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    Console(width=wide, highlight=False).print(content)


def show_json(content: Any) -> None:
    """Print indented JSON, text as it is."""
    print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def print_checks(checks: Sequence[Check]) -> None:
    """Print one row a check, then the repairs, each on a line of its own that can be copied."""
    table = Table("", "check", "found", title="MedGraph installation")
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("problem", "bold red")
        table.add_row(mark, check.name, Text(check.found))
    show(table)
    for check in checks:
        if not check.ok:
            print(f"repair {check.name}: {check.repair}")


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
    show(table)


def _default(field: dataclasses.Field[object]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
