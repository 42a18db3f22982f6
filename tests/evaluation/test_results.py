import dataclasses
import json
import math

import pytest

from medgraph.evaluation.results import Results, chance_levels, summarise


@pytest.fixture
def predictions(make_prediction):
    """60 images, 2 questions each; the model is right on 5 of 6, without the image it always says lung and yes."""
    made = []
    for i in range(60):
        area = "Lung" if i % 2 else "Brain"
        shared = {"image_id": f"i{i}", "triplet": f"CT/{area}/Cancer", "subset": area}
        organ = {"question_type": "area", "answer": area.lower(), **shared}
        sick = {"question_type": "presence", "answer_type": "closed", "answer": "yes" if i % 3 else "no", **shared}
        made += [
            make_prediction(f"a{i}", **organ, prediction=area.lower() if i % 6 else "leg"),
            make_prediction(f"a{i}", **organ, prediction="lung", control="no_image"),
            make_prediction(f"p{i}", **sick, prediction=sick["answer"] if i % 6 else "maybe"),
            make_prediction(f"p{i}", **sick, prediction="yes", control="no_image"),
        ]
    return made


def test_levels_tables_and_difference(predictions):
    results = summarise(predictions, resamples=1000)
    model, control = results.get("test"), results.get("test", "no_image")
    assert model.overall.n == 120
    assert model.overall.images == 60
    assert model.overall.accuracy == pytest.approx(5 / 6)
    assert model.overall.chance == pytest.approx(0.5)
    assert model.overall.constant == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert model.overall.unparsed == pytest.approx(1 / 12)
    assert model.overall.f1 == pytest.approx(5 / 6)
    assert model.overall.not_above == ()
    assert set(model.tables) == {"question_type", "answer_type", "subset", "modality", "area", "task"}
    assert model.tables["area"]["Brain"].n == 60
    assert model.tables["area"]["Brain"].accuracy == pytest.approx(2 / 3)
    assert model.over["no_image"].mean == pytest.approx(5 / 6 - control.overall.accuracy)
    assert control.over == {}
    assert results.splits == ["test"]
    assert [entry.control for entry in results.controls("test")] == ["no_image"]


def test_what_does_not_clear_chance_or_control_is_marked(predictions):
    blind = [p for p in predictions if p.control == "no_image"]
    as_model = [dataclasses.replace(p, control="none") for p in blind]
    row = summarise([*as_model, *blind], resamples=1000).get("test").overall
    assert row.not_above == ("chance", "constant answer", "no_image")


def test_json_round_trip_keeps_everything_and_has_no_nan(predictions, tmp_path):
    one_image = [p for p in predictions if p.image_id == "i1"]
    for group in (predictions, one_image):
        results = summarise(group, resamples=500)
        results.save(tmp_path / "results.json")
        text = (tmp_path / "results.json").read_text()
        assert "NaN" not in text
        assert Results.load(tmp_path / "results.json").to_dict() == results.to_dict() == json.loads(text)
    assert math.isnan(Results.load(tmp_path / "results.json").get("test").overall.bootstrap.low)


def test_certain_results_show_the_wilson_interval(make_prediction):
    row = summarise([make_prediction(str(i)) for i in range(20)], resamples=200).get("test").overall
    assert row.accuracy == 1
    assert row.interval == row.wilson
    assert row.interval.low == pytest.approx(0.839, abs=1e-3)


def test_chance_of_choice_questions_is_one_over_their_options(make_prediction):
    two = make_prediction("1", answer_type="choice", options=("x", "y"), answer="x")
    four = make_prediction("2", answer_type="choice", options=("x", "y", "z", "w"), answer="x")
    assert chance_levels([two, four]) == {"1": 0.5, "2": 0.25}


def test_errors_say_what_there_is(predictions):
    with pytest.raises(ValueError, match="no predictions"):
        summarise([])
    with pytest.raises(KeyError, match="no results for ood/none; there are test/none, test/no_image"):
        summarise(predictions, resamples=10).get("ood")
    with pytest.raises(ValueError, match="format 0"):
        Results.from_dict({"format": 0})
