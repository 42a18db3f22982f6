import json

import numpy as np
import pytest

from medgraph.evaluation.confidence import calibrations
from medgraph.evaluation.results import Results, summarise


@pytest.fixture
def ask(make_prediction, rng):
    """Questions whose option scores are three times too sure; 5 of 6 are lettered choices, the others yes or no."""

    def make(split: str, n: int = 300, **values):
        made = []
        for i in range(n):
            options = ("cyst", "mass", "normal", "stone") if i % 6 else ()
            honest = rng.normal(size=len(options) or 2) * 2
            p = np.exp(honest) / np.exp(honest).sum()
            truth = (options or ("yes", "no"))[rng.choice(len(p), p=p)]
            scores = 3 * honest
            made.append(
                make_prediction(
                    f"{split}{i}", split=split, image_id=f"{split}{i // 2}", options=options, answer=truth,
                    answer_type="choice" if options else "closed", prediction=truth,
                    logprobs=tuple((scores - np.log(np.exp(scores).sum())).tolist()), **values,
                )
            )  # fmt: skip
        return made

    return make


def test_a_temperature_from_validation_mends_overconfidence(ask):
    raw, mended = calibrations(ask("test"), ask("val"), resamples=100)
    assert (raw.split, raw.source, raw.temperature, raw.fitted_on, raw.n, raw.images) == (
        "test", "options", 1, 0, 300, 150,
    )  # fmt: skip
    assert mended.temperature == pytest.approx(3, rel=0.3)
    assert mended.fitted_on == 300
    assert mended.figures["ece"].value < 0.5 * raw.figures["ece"].value
    assert mended.figures["accuracy"] == raw.figures["accuracy"], "a temperature changes no answer"
    assert raw.figures["confidence"].value > raw.figures["accuracy"].value
    for figure in raw.figures.values():
        assert figure.low < figure.value < figure.high
    assert sum(b.n for b in raw.bins) == 300
    assert len(raw.coverage) == len(raw.risk) == 100
    assert raw.risk[-1] == pytest.approx(1 - raw.figures["accuracy"].value)


def test_the_temperature_never_sees_the_reported_questions(ask):
    test, validation = ask("test"), ask("val")
    first = calibrations(test, validation, resamples=10)[1].temperature
    assert calibrations(test[:100], validation, resamples=10)[1].temperature == first
    assert len(calibrations(test, validation[:10], resamples=10)) == 1, "ten questions fit no temperature"


def test_stated_confidences_are_read_and_do_not_make_answers_wrong(make_prediction):
    questions = [
        make_prediction("1", answer_type="closed", answer="yes", prediction="yes. Confidence: 90 %"),
        make_prediction("2", answer_type="closed", answer="yes", prediction="no, confidence 60 %"),
        make_prediction("3", answer_type="closed", answer="yes", prediction="yes"),
        make_prediction("4", answer_type="closed", answer="yes", prediction="yes", control="majority"),
    ]
    (said,) = calibrations(questions, resamples=20)
    assert (said.source, said.n) == ("verbalised", 2)
    assert said.figures["accuracy"].value == 0.5
    assert said.figures["brier"].value == pytest.approx((0.01 + 0.36) / 2)
    assert said.figures["auroc"].value == 1


def test_results_carry_the_calibration_through_json(ask, tmp_path):
    results = summarise(ask("test", 30), resamples=100, validation=ask("val", 30))
    results.save(tmp_path / "results.json")
    loaded = Results.load(tmp_path / "results.json")
    assert loaded.to_dict() == results.to_dict()
    entry = json.loads((tmp_path / "results.json").read_text())["calibration"][1]
    assert set(entry) == {
        "split", "source", "temperature", "fitted_on", "n", "images", "figures", "bins", "coverage", "risk",
    }  # fmt: skip
    assert any(b["n"] == 0 and b["accuracy"] is None for b in entry["bins"])
