"""The reference has no gaps: docstrings of the public API, and how the site shows them."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
REQUIRED = 0.95
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def load(name: str) -> ModuleType:
    """A module of docs/theme; skips where MkDocs is not installed."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "theme" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def public(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    """A module or class, and what is public in it; overloads say nothing of their own."""
    yield name, node
    for child in node.body:
        if isinstance(child, Documented) and not child.name.startswith("_"):
            overload = any(
                ast.unparse(mark).endswith(("overload", ".setter")) for mark in getattr(child, "decorator_list", ())
            )
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{name}.{child.name}")
            elif not overload:
                yield f"{name}.{child.name}", child


@pytest.fixture(scope="module")
def api() -> dict[str, str | None]:
    """Docstrings of everything public, by name."""
    return {
        name: ast.get_docstring(node)
        for package in ("medgraph", "lightning_app")
        for file in sorted((ROOT / package).rglob("*.py"))
        for name, node in public(
            ast.parse(file.read_text(encoding="utf-8")), ".".join(file.relative_to(ROOT).with_suffix("").parts)
        )
    }


def test_the_public_api_is_documented(api):
    missing = [name for name, text in api.items() if text is None]
    share = 1 - len(missing) / len(api)
    assert len(api) > 1500
    assert share >= REQUIRED, f"{share:.1%} of {len(api)} have a docstring; without: {', '.join(missing)}"


def test_every_formula_can_be_shown(api, pages):
    to_markdown, mathml = load("docstrings").to_markdown, load("hooks").mathml
    texts = [*(to_markdown(text) for text in api.values() if text), *(page.text for page in pages.values())]
    plain = [re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL) for text in texts]
    formulas = {found.strip("$") for text in plain for found in re.findall(r"\$\$[^$]+\$\$|\$[^$\n]+\$", text)}
    assert len(formulas) > 50
    for formula in formulas:
        mathml(formula, block=True)


def test_docstrings_become_markdown():
    text = """Solve.

.. math:: a = b,
    c = d

See :func:`medgraph.files.write_json` or :class:`Other`, :math:`x^2`.

Example:
    >>> 1
"""
    text = load("docstrings").to_markdown(text)
    assert "$$\na = b, c = d\n$$\n" in text
    assert "[`write_json`][medgraph.files.write_json] or `Other`, $x^2$" in text
    assert "\nExamples:\n    >>> 1\n" in text


def test_formulas_become_mathml_and_drawings_are_part_of_the_page():
    hooks = load("hooks")
    page = hooks.on_page_content(
        '<p><span class="arithmatex">\\(x_i &lt; 1\\)</span> <img alt="Two graphs" src="graphs.svg" /></p>'
    )
    assert "<msub><mi>x</mi><mi>i</mi></msub>" in page
    assert "\\(" not in page
    assert '<svg role="img" aria-label="Two graphs"' in page


def test_every_public_module_has_a_page():
    hooks = load("hooks")
    listed: list[str] = []

    def walk(path: Path) -> None:
        listed.append(str(path.relative_to(ROOT)))
        for one in hooks.modules(path) if path.is_dir() else ():
            walk(one)

    walk(ROOT / "medgraph")
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "medgraph").rglob("*.py") if not file.name.startswith("_")}
    assert files <= set(listed)


def test_drawings_are_what_the_script_draws():
    drawings = load("drawings")
    for draw in drawings.DRAWINGS:
        file = ROOT / "docs" / "concepts" / f"{draw.__name__}.svg"
        assert file.read_text(encoding="utf-8") == str(draw()), f"{file} is old: python docs/theme/drawings.py"
