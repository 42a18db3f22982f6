"""Links between pages, and to their headings, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from markdown.extensions.toc import slugify, unique

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """Ids that headings get, as MkDocs makes them."""
    taken: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE):
        unique(slugify(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading), "-"), taken)
    return taken


def resolve(page: Path, target: str) -> Path:
    """The file that a link means; pages of the API are made from modules."""
    path = (page.parent / target).resolve()
    if not path.exists() and "reference" in path.parts:
        module = (ROOT / path.relative_to(ROOT / "docs" / "reference")).with_suffix("")
        return module.parent if module.name == "index" else module.with_suffix(".py")
    return path


def test_links_and_anchors_resolve(pages):
    problems = []
    for name, page in pages.items():
        for link in LINK.findall(re.sub(r"```.*?```|`[^`]*`", "", page.text, flags=re.DOTALL)):
            target, _, anchor = link.partition("#")
            path = resolve(page.path, target) if target else page.path
            if "://" in link:
                continue
            if page.path.is_relative_to(DOCS) and not path.is_relative_to(DOCS) and "reference/" not in link:
                problems.append(f"{name}: {link}: leads out of docs/, which the site does not have")
            elif not path.exists():
                problems.append(f"{name}: {link}: no such file")
            elif anchor and anchor not in anchors(
                (ROOT / "README.md" if path == DOCS / "index.md" else path).read_text()
            ):
                problems.append(f"{name}: {link}: no such heading")
    assert not problems, "\n".join(problems)


def test_pages_ask_no_other_server_for_anything(pages):
    embedded = re.compile(r"!\[[^\]]*\]\(https?://|<(?:img|script|link|iframe)[^>]*https?://")
    assert not [name for name, page in pages.items() if embedded.search(page.text)]
