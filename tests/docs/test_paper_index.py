"""What the paper index and the concepts name exists, and what has a published table is in the index."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"medgraph(?:\.\w+)+")


def resolve(name: str) -> object:
    """What a dotted name means: a module, or something in one.

    Raises:
        AttributeError: if there is no such thing.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def names_in(page) -> set[str]:
    return {code.partition("(")[0] for code in page.inline if NAME.fullmatch(code.partition("(")[0])}


@pytest.fixture(scope="module")
def index(pages):
    return pages["docs/paper_index.md"]


def test_dotted_names_resolve(pages):
    wrong = []
    for page in pages.values():
        for name in names_in(page):
            try:
                resolve(name)
            except AttributeError:
                wrong.append(f"{page.name}: {name}")
    assert not wrong, "\n".join(sorted(wrong))


def test_an_unknown_name_is_found():
    with pytest.raises(AttributeError):
        resolve("medgraph.alignment.graph.nothing")


def test_experiments_and_benchmarks_exist(index):
    files = set(re.findall(r"(?:experiments|benchmarks)/\w+\.py", index.text))
    assert len(files) > 10
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_every_head_with_a_paper_is_indexed(index):
    from medgraph.alignment.registry import HEADS

    missing = {place.replace(":", ".") for name, place in HEADS.items() if name != "none"} - names_in(index)
    assert not missing, f"docs/paper_index.md does not name {missing}"


def test_every_experiment_with_published_numbers_is_indexed(index):
    published = [file.name for file in (ROOT / "experiments").glob("*.py") if "\nPublished" in file.read_text()]
    assert len(published) > 10
    missing = [name for name in published if f"experiments/{name}" not in index.text]
    assert not missing, f"docs/paper_index.md does not name {missing}, which cite published numbers"
