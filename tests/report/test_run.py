import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from medgraph.report.run import write_report


class Page(HTMLParser):
    """Collects ids, links and sources, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "use", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [v for k, v in values.items() if k in ("href", "src", "xlink:href") and v]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_leaks_between_splits_are_a_warning(tmp_path):
    found = "LEAK: 203 of 203 test images are also in train (same image)."
    for verdict, shown in ((found, 1), ("No leak between splits.", 0)):
        (tmp_path / "data.json").write_text(json.dumps({"leaks": verdict}))
        warnings = re.findall(r'<div class="note" role="note">.*?</div>', write_report(tmp_path).read_text(), re.DOTALL)
        assert sum(found in warning for warning in warnings) == shown


@pytest.fixture(scope="module")
def text(run_dir, references) -> str:
    return write_report(run_dir, references).read_text()


def test_page_is_whole_and_needs_nothing_else(text):
    page = Page(text)
    assert page.open == []
    sections = {"result", "comparison", "breakdown", "confidence", "failures", "training", "samples", "reading"}
    assert {*sections, "configuration"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids)), "ids of several figures must not clash"
    for link in page.links:
        assert link.startswith(("data:image/png;base64,", "#")) or link == "failures.html", link
        assert not link.startswith("#") or link[1:] in page.ids
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", text)


def test_numbers_controls_and_references_are_shown(text):
    for shown in (
        "In distribution",
        "Unseen combinations",
        "without the image",
        "InfoNCE, 10",
        "2026-11-20",
        "n = 160",
    ):
        assert shown in text.replace("\u202f", " ")
    assert text.count("<svg") >= 15
    assert text.count("<img") == 8
    assert "fraction: 0.1" in text
    for shown in ("commit 0123abcdef with changes", "CPU", "trained 4 min", "held-out combinations", "stage3"):
        assert shown in text.replace("\u202f", " ")
    assert "prefers-color-scheme: dark" in text


def test_empty_folder_says_what_is_missing(tmp_path):
    text = write_report(tmp_path).read_text()
    for name in ("predictions.jsonl", "metrics.csv", "samples.json", "config.yaml", "environment.json", "data.json"):
        assert f"{name} is not there" in text
    assert "There is no result yet" in text


def test_broken_files_are_named_and_predictions_replace_results(run_dir, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    (folder / "results.json").unlink()
    (folder / "samples" / "3.png").unlink()
    (folder / "metrics.csv").write_text("step,train/loss\n1,oops\n")
    (folder / "environment.json").write_text("{")
    text = write_report(folder).read_text()
    assert "samples.json could not be read" in text
    assert "holds &#39;oops&#39;, not a number" in text
    assert "environment.json could not be read" in text
    assert "points over the same model without the image" in text


def test_text_from_the_data_is_escaped(run_dir, tmp_path):
    shutil.copytree(run_dir / "samples", tmp_path / "samples")
    samples = json.loads((run_dir / "samples.json").read_text())
    samples[0]["prediction"] = "<script>alert(1)</script>"
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    text = write_report(tmp_path).read_text()
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_a_folder_is_needed(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        write_report(tmp_path / "none")
