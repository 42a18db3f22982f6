"""What MkDocs does beside its configuration: the start page, the API reference, formulas, and drawings."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGES = ("medgraph", "lightning_app")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
NAME = re.compile(r"<code>((?:medgraph|lightning_app)(?:\.\w+)+)</code>")
DRAWING = re.compile(r'<img alt="([^"]*)" src="(?:[^"]*/)?([^"/]*\.svg)"\s*/?>')


def on_pre_build(config: Any) -> None:
    """Keep out the script from another server with which the search would also run from the disk."""
    config.extra["polyfills"] = [script for script in config.extra.get("polyfills", []) if "://" not in str(script)]


def on_files(files: Files, config: Any) -> Files:
    """Add pages of the API, and put every page that `nav` does not name into the navigation."""
    named = set(re.findall(r"[\w/]+\.md", str(config.nav)))
    unnamed = [file.src_uri for file in files.documentation_pages() if file.src_uri not in named]
    next(part["How-to"] for part in config.nav if "How-to" in part).extend(sorted(unnamed))
    files.append(File.generated(config, "reference/index.md", content="# Reference\n\n" + contents(ROOT, PACKAGES)))
    config.nav.append({"Reference": ["reference/index.md", *(add(files, config, ROOT / name) for name in PACKAGES)]})
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Frame the start page with the README, its head first, without its links to what is not on the site."""
    if page.file.src_uri != "index.md":
        return markdown
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = re.sub(r"(?<!!)\[([^]]*)\]\((?!docs/|https?:|#)[^)]*\)", r"\1", readme).replace("](docs/", "](")
    head, heading, rest = readme.partition("\n## ")
    return f"{head}\n\n{markdown}{heading}{rest}"


def on_page_content(content: str, **_: Any) -> str:
    """Show formulas as MathML, which needs no script, drawings in the page's colours, and names as links."""
    content = FORMULA.sub(lambda found: mathml(found[2], found[1] == "div"), content)
    content = NAME.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', content)
    return DRAWING.sub(lambda found: inline(found[2], found[1]), content)


def mathml(tex: str, block: bool) -> str:
    """A formula; blocks scroll where the page is narrow.

    Raises:
        PluginError: for a command that the converter does not know.
    """
    tex = html.unescape(tex).strip().replace(r"\arg", r"\mathrm{arg}\,")
    formula = convert(tex, display="block" if block else "inline")
    if "\\" in formula:
        raise PluginError(f"a formula with unknown commands: {tex}")
    return f'<div class="formula">{formula}</div>' if block else formula


def inline(name: str, text: str) -> str:
    """A drawing of docs/concepts with its description."""
    svg = (ROOT / "docs" / "concepts" / name).read_text(encoding="utf-8")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{text}" ', 1)


def add(files: Files, config: Any, path: Path) -> dict[str, Any]:
    """Make the page of a module, and those of the modules in it, and return their part of the navigation."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    uri = f"reference/{module.replace('.', '/')}" + ("/index.md" if path.is_dir() else ".md")
    inner = modules(path) if path.is_dir() else []
    listed = "\n\n" + contents(path, [one.stem for one in inner]) if inner else ""
    files.append(File.generated(config, uri, content=f"::: {module}{listed}\n"))
    if not path.is_dir():
        return {path.stem: uri}
    return {path.name: [uri, *(add(files, config, one) for one in inner)]}


def modules(package: Path) -> list[Path]:
    """Public modules and packages in a package."""
    found = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return sorted(path for path in found if not path.name.startswith("_"))


def contents(package: Path, names: Any) -> str:
    """A table of modules and what they are for."""
    rows = []
    for name in names:
        path = package / name
        file, uri = (
            (path / "__init__.py", f"{name}/index.md") if path.is_dir() else (path.with_suffix(".py"), f"{name}.md")
        )
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        rows.append(f"| [`{name}`]({uri}) | {' '.join(docstring.partition(chr(10) * 2)[0].split())} |")
    return "\n".join(["| module | what |", "|---|---|", *rows])
