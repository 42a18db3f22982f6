import pytest

from medgraph.evaluation.controls import (
    TrainingQuestion,
    constant,
    gaming_warnings,
    majority,
    model_free_controls,
    nearest_question,
    vocabulary_dump,
)
from medgraph.evaluation.protocols import score_protocol
from medgraph.evaluation.results import summarise

TRAIN = [
    TrainingQuestion("Which organ is shown?", "lung", "organ", "open"),
    TrainingQuestion("Which organ is shown?", "lung", "organ", "open"),
    TrainingQuestion("Which organ is it?", "brain", "organ", "open"),
    TrainingQuestion("Is there a fracture?", "no", "presence", "closed"),
]


@pytest.fixture
def questions(make_prediction):
    return [
        make_prediction("1", question_type="organ", prompt="which ORGAN is shown", answer="lung", prediction="x"),
        make_prediction("2", question_type="side", prompt="Is there a fracture on the left?", answer="yes",
                        answer_type="closed", prediction="x"),
    ]  # fmt: skip


def test_majority_answers_by_question_type(questions):
    answers = majority(TRAIN, questions)
    assert [(p.prediction, p.control, p.score) for p in answers] == [("lung", "majority", 1), ("no", "majority", 0)]


def test_majority_falls_back_on_the_answer_type_and_then_on_everything(make_prediction):
    open_question = make_prediction("1", question_type="new")
    choice = make_prediction("2", question_type="new", answer_type="choice", options=("lung", "nodule"))
    assert [p.prediction for p in majority(TRAIN, [open_question, choice])] == ["lung", "lung"]


def test_nearest_question_reads_the_prompt(questions):
    assert [p.prediction for p in nearest_question(TRAIN, questions)] == ["lung", "no"]


def test_constant_answers_closed_questions_only(questions):
    (only,) = constant("yes", questions, "always_yes")
    assert (only.id, only.score, only.control) == ("2", 1, "always_yes")


def test_vocabulary_dump_is_worth_nothing_under_the_strict_protocol_only(questions):
    dump = vocabulary_dump([*TRAIN, TrainingQuestion("", "yes", "", "closed")], questions)
    assert score_protocol(dump, "exgra", resamples=0).get("average").value == 100
    assert score_protocol(dump, "strict", resamples=0).get("total_accuracy").value == 0
    assert gaming_warnings(dump)


def test_controls_stand_beside_the_model_in_results(questions):
    results = summarise([*questions, *model_free_controls(TRAIN, questions)], resamples=50)
    assert [entry.control for entry in results.controls("test")] == ["majority", "nearest_question", "always_yes"]
    model = results.get("test")
    assert model.over["majority"].mean == pytest.approx(-0.5)
    assert model.over["always_yes"].n == 1
    assert "majority" in model.overall.not_above
    with pytest.raises(ValueError, match="need training questions"):
        model_free_controls([], questions)


def test_honest_answers_raise_no_warning(make_prediction):
    assert gaming_warnings([make_prediction("1"), make_prediction("2", answer_type="closed", prediction="no")]) == []
