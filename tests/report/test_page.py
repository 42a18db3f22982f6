"""What every page owes its readers, whatever it reports; read from the HTML."""

import json
import re
from html.parser import HTMLParser

import pytest

from medgraph.evaluation.results import Results
from medgraph.evaluation.study import StudyRun
from medgraph.report import plots
from medgraph.report.failures import PAGE
from medgraph.report.page import picture
from medgraph.report.provenance import provenance
from medgraph.report.run import write_report
from medgraph.report.sections import Section, write_sections
from medgraph.report.study import write_study_report
from medgraph.report.tables import RunTable


class Page(HTMLParser):
    """Elements of a page as (name, attributes)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.elements = text, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def of(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def pages(run_dir, tmp_path_factory):
    """A page of every template: a run, its failures, a study, sections."""
    write_report(run_dir)
    root = tmp_path_factory.mktemp("pages")
    results = Results.load(run_dir / "results.json")
    for seed in (0, 1):
        run = root / "study" / "a" / f"seed-{seed}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(f"name: a\nseed: {seed}\nlr: 0.1\n")
        (run / "environment.json").write_text(json.dumps({"python": "3.11"}))
    runs = [StudyRun(arm=arm, seed=0, results=results) for arm in ("a", "b")]
    study = write_study_report(root / "study", runs, "a")
    table = RunTable("t", "T", ("arm", "%"), [("a", "1"), ("b", "2")], "n = 2 images")
    curve = picture(plots.training_curves({"x": [(0, 1.0), (1, 2.0)]}, "Loss", {}), "Loss over steps.")
    sections = [Section("one", "One", "Text.", [curve], [table])]
    made = write_sections(root / "study" / "a" / "seed-0" / "report.html", "S", "k", ["f"], sections)
    return {
        name: Page(path.read_text(encoding="utf-8"))
        for name, path in {"run": run_dir / "report.html", "failures": run_dir / PAGE, "study": study,
                           "sections": made}.items()
    }  # fmt: skip


KINDS = ("run", "failures", "study", "sections")


@pytest.mark.parametrize("kind", KINDS)
def test_contents_and_skip_link_lead_somewhere(pages, kind):
    page = pages[kind]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [link["href"] for link in page.of("a") if link["href"].startswith("#")]
    assert "#main" in links
    assert {link.removeprefix("#") for link in links} <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fetched_from_a_network(pages, kind):
    page = pages[kind]
    fetched = [attributes.get("src", "") for _, attributes in page.elements]
    fetched += [link.get("href", "") for link in page.of("link")]
    assert [address for address in fetched if re.match(r"(https?:)?//", address)] == []
    assert not re.search(r"url\(['\"]?(https?:)?//|@import", page.text)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_have_words_and_what_scrolls_can_be_reached_by_keyboard(pages, kind):
    page = pages[kind]
    assert all(image.get("alt") for image in page.of("img"))
    assert all(figure.get("aria-label") for figure in page.of("svg"))
    scrolling = [each for each in page.of("div") if each.get("class") == "scroll"]
    assert all(each.get("tabindex") == "0" and each.get("aria-label") for each in scrolling)
    assert all(head.get("scope") for head in page.of("th"))
    assert "prefers-color-scheme: dark" in page.text


@pytest.mark.parametrize("kind", ["run", "study", "sections"])
def test_configuration_and_environment_stand_at_the_end(pages, kind):
    sections = [section["id"] for section in pages[kind].of("section")]
    assert sections[-1] == "configuration"
    assert [section["id"] for section in pages["failures"].of("section")][-1] != "configuration"


def test_a_study_says_what_differs_between_its_runs(pages, tmp_path):
    text = pages["study"].text
    assert "<td>0, 1</td>" in text
    assert "config.yaml, a/seed-0" in text
    assert "0.1</td>" not in text, "what is the same is in the configuration only"
    assert provenance(tmp_path) is None
