"""The site builds without a warning, and its pages ask no other server for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_site_builds_without_a_warning(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True)
    (hooks,) = config.hooks.values()
    hooks.PACKAGES = ("medgraph/alignment",)  # the whole reference takes half a minute: make docs
    build(config)
    start, concept, reference = (
        (tmp_path / page).read_text(encoding="utf-8")
        for page in ("index.html", "concepts/imle.html", "reference/medgraph/alignment/gradients.html")
    )
    assert "tutorials/first_run.html" in start
    assert "Run studies" in start
    assert '<svg role="img"' in concept
    assert "reference/medgraph/alignment/matching_loss.html" in concept
    assert reference.count("<math") >= 3
    for page in (start, concept, reference):
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page)
