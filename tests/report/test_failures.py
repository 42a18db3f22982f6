import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from medgraph.data.records import MATTriplet, Record
from medgraph.report.failures import choose_failures, confidence, save_failures, write_failures_page


def record(p) -> Record:
    return Record(
        id=p.id, image_id=p.image_id, image=f"{p.split}/{p.image_id}", question="", answer=p.answer, extended="",
        answer_type=p.answer_type, question_type=p.question_type, triplet=MATTriplet.parse(p.triplet), label="",
        subset=p.subset, group="",
    )  # fmt: skip


def test_confidence_is_the_largest_probability(predictions):
    known = next(p for p in predictions if p.answer_type == "choice")
    weights = np.exp(known.logprobs)
    assert confidence(known) == pytest.approx(weights.max() / weights.sum())
    assert confidence(replace(known, logprobs=())) is None


def test_wrong_answers_of_every_kind_the_most_confident_first(predictions):
    wrong = [p for p in predictions if p.control == "none" and p.score < 1]
    assert {p.key for p in choose_failures(predictions, limit=10_000)} == {p.key for p in wrong}
    chosen = choose_failures(predictions, limit=16)
    assert len(chosen) == 16
    assert {(p.split, p.question_type) for p in chosen} == {(p.split, p.question_type) for p in wrong}
    ranks = [confidence(p) or 0 for p in chosen]
    assert ranks == sorted(ranks, reverse=True)
    closed = [p for p in wrong if (p.split, p.question_type) == ("test", "presence")]
    assert max(closed, key=confidence) in chosen


def test_images_are_kept_small_and_shown(predictions, tmp_path):
    splits = {s: [record(p) for p in predictions if p.split == s and p.control == "none"] for s in ("test", "ood")}
    loaded = []

    def images(path):
        loaded.append(path)
        return np.full((300, 300, 3), 90, np.uint8)

    save_failures(predictions, splits, images, tmp_path)
    wrong = write_failures_page(tmp_path, "a run", predictions)
    chosen = choose_failures(predictions)
    assert loaded == [f"{p.split}/{p.image_id}" for p in chosen]
    text = (tmp_path / "failures.html").read_text()
    assert text.count("data:image/jpeg;base64,") == len(chosen)
    assert wrong == sum(p.score < 1 for p in predictions if p.control == "none")
    assert f"{len(chosen)} of {wrong} wrong answers" in text


class Cards(HTMLParser):
    """Collects what the filters read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.facts: list[dict[str, str]] = []
        self.options: dict[str, set[str]] = {}
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "data-facts" in values:
            self.facts.append(json.loads(values["data-facts"]))
        if tag == "select":
            self._select = values["name"]
            self.options[self._select] = set()

    def handle_endtag(self, tag):
        if tag == "select":
            self._select = ""

    def handle_data(self, data):
        if self._select and data.strip():
            self.options[self._select].add(data.strip())


def test_every_filter_finds_a_card_and_texts_are_escaped(predictions, tmp_path):
    p = next(p for p in predictions if p.control == "none" and p.score < 1)
    evil = replace(p, id="evil", prediction="</article><script>alert(1)</script>", subset='a "b" <c>')
    assert write_failures_page(tmp_path, "a run", [*predictions, evil]) > 0
    text = (tmp_path / "failures.html").read_text()
    assert "<script>alert" not in text
    assert "Images were not kept" in text
    cards = Cards(text)
    assert {"split", "modality", "question type", "answer type", "data set"} == set(cards.options)
    for name, values in cards.options.items():
        assert values == {"all", *(facts[name] for facts in cards.facts)}


def test_no_page_without_wrong_answers(predictions, tmp_path):
    assert write_failures_page(tmp_path, "a run", [replace(p, score=1.0) for p in predictions]) == 0
    assert not (tmp_path / "failures.html").exists()
