"""The imports of the code are those that docs/architecture.md allows."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE, APP = "medgraph", "lightning_app"
HEAVY = {"torch", "lightning", "transformers", "matplotlib"}


class Import(NamedTuple):
    """One import statement."""

    room: str
    file: Path
    line: int
    module: str
    deferred: bool


def room_of(module: str) -> str | None:
    """``medgraph.data.records`` is in ``data``; None outside the house."""
    top, *rest = module.split(".")
    return APP if top == APP else rest[0] if top == PACKAGE and rest else None


def imports_of(file: Path) -> Iterator[Import]:
    """All imports of a file; those in functions and under ``if TYPE_CHECKING`` are deferred."""

    def visit(node: ast.AST, deferred: bool) -> Iterator[tuple[int, str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((child.lineno, alias.name, deferred) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                module = "." * child.level + (child.module or "")
                members = [f"{module}.{alias.name}" for alias in child.names] if module == PACKAGE else [module]
                yield from ((child.lineno, name, deferred) for name in members)
            elif not isinstance(child, ast.expr):
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
                yield from visit(child, deferred or function or types)

    room = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts)) or ""
    for line, module, deferred in visit(ast.parse(file.read_text(encoding="utf-8")), deferred=False):
        yield Import(room, file, line, module, deferred)


def table(heading: str) -> list[list[str]]:
    """Cells of the table below a heading of the page, without the header."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(cell: str) -> set[str]:
    return set(cell.replace("`", " ").replace(",", " ").split())


ROOMS = {names(room).pop(): names(imports) for room, _, imports, _ in table("Rooms")}
LIBRARIES = {names(room).pop(): names(heavy) for room, _, _, heavy in table("Rooms")}
EXCEPTIONS = {(names(a).pop(), names(b).pop()): names(files) for a, b, files, _ in table("Against the arrows")}
IMPORTS = [found for top in (PACKAGE, APP) for file in sorted((ROOT / top).rglob("*.py")) for found in imports_of(file)]


@pytest.fixture(scope="module")
def between() -> dict[tuple[str, str], list[Import]]:
    """Imports between rooms."""
    found = defaultdict(list)
    for each in IMPORTS:
        to = room_of(each.module)
        if to and to != each.room:
            found[each.room, to].append(each)
    return dict(found)


def test_every_room_is_on_the_page():
    files = [file for file in (ROOT / PACKAGE).iterdir() if file.suffix == ".py" and file.stem != "__init__"]
    folders = [file.parent for file in (ROOT / PACKAGE).glob("*/__init__.py")]
    assert set(ROOMS) == {path.stem for path in (*files, *folders)} | {APP}


def test_imports_are_absolute():
    assert [f"{each.file}:{each.line}" for each in IMPORTS if each.module.startswith(".")] == []


def test_no_room_imports_another_that_the_page_does_not_allow(between):
    assert [
        f"{each.file.relative_to(ROOT)}:{each.line} imports {each.module}: docs/architecture.md has no {room} -> {to}"
        for (room, to), found in between.items()
        for each in found
        if to not in ROOMS.get(room, ()) and each.file.name not in EXCEPTIONS.get((room, to), ())
    ] == []


def test_the_page_allows_nothing_that_no_import_uses(between):
    allowed = {(room, to) for room, imports in ROOMS.items() for to in imports}
    assert allowed - between.keys() == set()
    for edge, files in EXCEPTIONS.items():
        assert {each.file.name for each in between.get(edge, ())} == files, edge


def test_the_arrows_make_no_circle_and_the_table_is_in_their_order():
    list(TopologicalSorter(ROOMS).static_order())  # raises CycleError
    order = list(ROOMS)
    assert [f"{room} imports {to}, which is below" for room in ROOMS for to in ROOMS[room]
            if order.index(to) > order.index(room)] == []  # fmt: skip


def test_imports_against_the_arrows_wait_until_they_are_needed(between):
    assert [f"{e.file.name}:{e.line}" for edge in EXCEPTIONS for e in between[edge] if not e.deferred] == []


def test_heavy_libraries_stay_in_their_rooms():
    found = {room: set() for room in ROOMS}
    for each in IMPORTS:
        if each.room:
            found[each.room] |= {each.module.partition(".")[0]} & HEAVY
    assert found == LIBRARIES


def test_the_test_sees_imports(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "medgraph" / "data" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import medgraph.cg.plan\nfrom medgraph import report\n"
        "if TYPE_CHECKING:\n    from medgraph.models import a, b\n"
        "def f():\n    from lightning_app.tables import show\n    import torch.nn, numpy\n"
    )
    assert [(room_of(each.module), each.deferred, each.line) for each in imports_of(file)] == [
        ("cg", False, 1), ("report", False, 2), ("models", True, 4), (APP, True, 6), (None, True, 7), (None, True, 7),
    ]  # fmt: skip
