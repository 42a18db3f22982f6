import json

import numpy as np
import pytest

from medgraph.evaluation.predictions import PredictionWriter
from medgraph.evaluation.protocol_table import Rival
from medgraph.evaluation.protocols import PROTOCOLS
from medgraph.evaluation.score_cli import compare, score


@pytest.fixture
def make_file(tmp_path, make_prediction):
    def make(name: str, right: int, n: int = 40, splits=("test", "ood")):
        folder = tmp_path / name
        with PredictionWriter(folder / "predictions.jsonl") as writer:
            for split in splits:
                hits = set(np.random.default_rng(0).permutation(n)[:right].tolist())
                for i in range(n):
                    closed = {"answer_type": "closed", "answer": "yes", "prediction": "yes" if i in hits else "no"}
                    opened = {"prediction": "nodule" if i in hits else "cyst"}
                    writer.write([make_prediction(str(i), split=split, **(closed if i % 2 else opened))])
        return folder

    return make


def test_score_has_every_protocol_split_and_interval(make_file):
    report = score(make_file("run", 30), resamples=200)
    assert [(g.split, g.control, g.n) for g in report.groups] == [
        ("test", "none", 40), ("ood", "none", 40), ("test", "always_yes", 20), ("ood", "always_yes", 20),
    ]  # fmt: skip
    group = report.groups[0]
    undefined = {"omnimedvqa", "medmat", "likelihood", "likelihood_text", "detection", "text"}
    assert list(group.scores) == [name for name in PROTOCOLS if name not in undefined], (
        "no options, likelihoods or boxes, and text is slow"
    )
    figure = group.scores["strict"].get("total_accuracy")
    assert figure.value == pytest.approx(75)
    assert figure.interval.low < 75 < figure.interval.high
    assert report.groups[2].scores["pvqa_legacy"].get("closed_accuracy").value == 100
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["groups"][0]["protocols"]["exgra"]["closed_accuracy"]["n"] == 20


def test_score_selects_protocols_and_reads_candidates(make_file, tmp_path):
    (tmp_path / "c.json").write_text('["nodule", "cyst"]')
    report = score(make_file("run", 30), candidates=tmp_path / "c.json", protocol="strict, exgra", resamples=0)
    group = report.groups[0]
    assert list(group.scores) == ["strict", "exgra"]
    strict, exgra = report.results[:2]
    assert exgra.rivals["average"] == Rival("vocabulary", 100)
    assert exgra.beaten(exgra.headline)
    assert strict.rivals["total_accuracy"] == Rival("vocabulary", 0)
    assert not strict.beaten("total_accuracy")
    assert group.scores["exgra"].get("open_accuracy").n == 20
    with pytest.raises(ValueError, match="unknown protocol 'nope'"):
        score(tmp_path / "run", protocol="nope")


def test_training_questions_and_run_folders_bring_their_controls(make_file, tmp_path):
    folder = make_file("run", 30, splits=("test",))
    (tmp_path / "train.json").write_text(
        json.dumps([{"id": 1, "question": "What is seen?", "answer": "nodule", "answer_type": "OPEN"}] * 2)
    )
    with_train = score(folder, train=tmp_path / "train.json", protocol="strict, exgra", resamples=0)
    assert [g.control for g in with_train.groups] == [
        "none", "always_yes", "majority", "nearest_question", "vocabulary",
    ]  # fmt: skip
    strict = with_train.results[0]
    assert strict.rivals["open_accuracy"].value == 100, "all true answers are nodule"
    assert strict.beaten("open_accuracy")
    (folder / "candidates.json").write_text('["nodule"]')
    assert [g.control for g in score(folder, protocol="exgra", resamples=0).groups][-1] == "vocabulary"


def test_compare_is_paired_and_corrected(make_file):
    comparison = compare([make_file("a", 20), make_file("b", 38), make_file("c", 21)], resamples=300)
    first, second, third = comparison.splits["test"]
    assert first.versus is None
    assert second.versus.mean == pytest.approx(18 / 40)
    assert second.versus.p == pytest.approx(2 * 0.5**18)
    assert second.p_holm == pytest.approx(2 * second.versus.p)
    assert third.p_holm == 1
    assert 0 < comparison.detectable["test"] <= 0.2
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_compare_errors(make_file):
    with pytest.raises(ValueError, match="at least two runs, got 1"):
        compare([make_file("a", 20)])
    with pytest.raises(ValueError, match="no split in common"):
        compare([make_file("b", 20, splits=("test",)), make_file("c", 20, splits=("ood",))])
