import re
from dataclasses import replace

import pytest

from medgraph.evaluation.predictions import PredictionWriter
from medgraph.evaluation.protocols import PROTOCOLS
from medgraph.evaluation.results import summarise
from medgraph.report.published import FIGURES, beside, read_published
from medgraph.report.run import write_report


@pytest.fixture(scope="module")
def answers(predictions):
    """As many answers as the test set of VQA-RAD has questions."""
    made = [p for p in predictions if (p.split, p.control) == ("test", "none")][:451]
    return [replace(p, subset="vqa-rad") for p in made]


def test_packaged_results_name_a_protocol_a_paper_and_a_place():
    for entry in read_published():
        assert entry.protocol in PROTOCOLS
        assert entry.figure in FIGURES
        assert 0 <= float(entry.value) <= 100
        assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", entry.source)
        assert entry.place
    keys = [(e.dataset, e.method, e.pretraining, e.protocol, e.figure) for e in read_published()]
    assert len(keys) == len(set(keys))


def test_published_averages_are_the_means_they_are_said_to_be():
    """LLaVA-Med's average: unweighted mean of open recall and closed accuracy (a copying error would show)."""
    values = {(e.dataset, e.method, e.pretraining, e.figure): float(e.value) for e in read_published()}
    checked = 0
    for (*key, figure), value in values.items():
        open_closed = [values.get((*key, name)) for name in ("recall", "closed_accuracy")]
        if figure == "average" and None not in open_closed:
            assert value == pytest.approx(sum(open_closed) / 2, abs=0.011), key
            checked += 1
    assert checked == 5


def test_only_the_same_number_of_test_questions_is_compared(answers):
    shown = beside(answers)
    assert [(dataset, split, protocol) for dataset, split, protocol, _ in shown.ours] == [
        ("vqa-rad", "test", "llava_med_v1"), ("vqa-rad", "test", "exgra")
    ]  # fmt: skip
    assert shown.figures == ["recall", "closed_accuracy", "average"]
    assert ("ExGra-Med", "10 %") in {(method, data) for _, method, data, *_ in shown.theirs}
    short = beside(answers[:-1])
    assert (short.ours, short.theirs) == ([], [])
    assert "on 451 test questions, this run answered 450" in short.notes[0]
    assert beside([replace(p, split="val") for p in answers]).theirs == []
    assert beside([replace(p, subset="own data") for p in answers]).notes == []


def test_med_mat_subsets_are_other_images(answers):
    shown = beside([replace(p, subset="subset-03") for p in answers])
    assert {row[5].split(",")[0] for row in shown.theirs} == {"arXiv:2412.20070"}
    assert set(shown.ours[0][3]) == {"choice_accuracy"}
    assert "other images" in shown.notes[0]


def test_published_numbers_are_marked_on_the_page(answers, tmp_path):
    with PredictionWriter(tmp_path / "predictions.jsonl") as writer:
        writer.write(answers)
    summarise(answers, resamples=20).save(tmp_path / "results.json")
    text = write_report(tmp_path).read_text()
    section = text[text.index('<section id="published">') : text.index('<section id="breakdown">')]
    ours, theirs = section.split("<h3>Published</h3>")
    assert theirs.count('<span class="badge">published</span>') == len(beside(answers).theirs)
    assert "badge" not in ours
    assert "–" in ours, "our intervals stay in our table"
    assert "74.91" in theirs
