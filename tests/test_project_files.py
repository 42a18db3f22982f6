"""The files around the code say what the code says."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import medgraph

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def test_one_version():
    assert version("medgraph") == medgraph.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == medgraph.__version__


def test_the_citation_is_complete():
    """The fields that the schema of cff 1.2.0 requires, of the work and of its references."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cff["cff-version"] == "1.2.0"
    assert cff["license"] == project["license"]
    assert cff["abstract"] == f"{project['description']}."
    assert all(isinstance(cff[key], str) and cff[key] for key in ("message", "title"))
    for work in (cff, *cff["references"]):
        assert work["type"]
        assert work["title"]
        for author in work["authors"]:
            assert set(author) in ({"name"}, {"given-names", "family-names"})
    for reference in cff["references"]:
        assert {each["type"] for each in reference["identifiers"]} <= {"doi", "url", "swh", "other"}


def test_the_changelog_has_dated_versions_newest_first():
    text = (ROOT / "CHANGELOG.md").read_text()
    first, *released = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    dates = [re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d)", heading)[1] for heading in released]
    assert dates == sorted((date.fromisoformat(day).isoformat() for day in dates), reverse=True)
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


@pytest.mark.parametrize("form", [file for file in FORMS if file.stem != "config"], ids=lambda file: file.stem)
def test_issue_forms_have_what_github_asks_for(form):
    content = yaml.safe_load(form.read_text())
    assert content["name"]
    assert content["description"]
    names = [field["id"] for field in content["body"]]
    assert len(set(names)) == len(names)
    assert {field["type"] for field in content["body"]} <= FIELDS
    assert all(field["attributes"]["label"] for field in content["body"])


def test_a_bug_comes_with_what_doctor_says():
    body = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())["body"]
    (doctor,) = [field for field in body if "medgraph doctor --json" in field["attributes"]["label"]]
    assert doctor["validations"]["required"]


def test_pre_commit_runs_the_tools_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f".venv/bin/{tool}" in entries
        assert f"$(BIN)/{tool}" in (ROOT / "Makefile").read_text()
