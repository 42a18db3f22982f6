from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:lightning run|medgraph|make|python|torchrun|sbatch|pytest) .*")


class Block(NamedTuple):
    """A fenced block; the line before it may say which file it is (`name`:)."""

    language: str
    text: str
    file: str

    @property
    def commands(self) -> list[str]:
        """Lines that call one of our programs."""
        lines = (line.strip().removeprefix("$ ") for line in self.text.replace("\\\n", " ").splitlines())
        return [line for line in lines if COMMAND.fullmatch(line)]


class Page(NamedTuple):
    """A page of the documentation as it is written."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def blocks(self) -> list[Block]:
        found = [
            (match, re.search(r"`([\w.]+)`:\s*\Z", self.text[: match.start()])) for match in FENCE.finditer(self.text)
        ]
        return [Block(match[2], match[3], file[1] if file else "") for match, file in found]

    @property
    def inline(self) -> list[str]:
        """Code in running text and tables."""
        return re.findall(r"`([^`]+)`", FENCE.sub("", self.text))


@pytest.fixture(scope="session")
def pages() -> dict[str, Page]:
    """Every page by its path from the root."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {page.name: page for page in (Page(file, file.read_text(encoding="utf-8")) for file in files)}
