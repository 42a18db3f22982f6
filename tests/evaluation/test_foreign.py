import json

import pytest

from medgraph.evaluation.foreign import read_answers, read_candidates
from medgraph.evaluation.predictions import PredictionWriter


@pytest.fixture
def write(tmp_path):
    def make(name: str, content: object, lines: bool = False):
        path = tmp_path / name
        path.write_text("".join(json.dumps(c) + "\n" for c in content) if lines else json.dumps(content))
        return path

    return make


def truth_entry(key, answer, kind="OPEN", turns="conversations"):
    question = {"from": "human", "value": "Where?\n<image>"}
    return {"id": key, "image": f"i{key}.jpg", "answer_type": kind, turns: [question, {"from": "gpt", "value": answer}]}


TRUTH = [truth_entry(1, "left"), truth_entry(2, "Yes", "CLOSED "), truth_entry(3, 4, turns="conversatons")]
SAID = [{"question_id": 3, "text": "4"}, {"question_id": 1, "text": "Left."}, {"question_id": 2, "text": "no"}]


def test_llava_med_files_are_joined_by_id(write):
    answers = read_answers(write("a.jsonl", SAID, lines=True), write("gt.json", TRUTH))
    assert [(p.id, p.answer, p.prediction, p.answer_type, p.score) for p in answers.predictions] == [
        ("1", "left", "Left.", "open", 1), ("2", "Yes", "no", "closed", 0), ("3", "4", "4", "open", 1),
    ]  # fmt: skip
    assert answers.predictions[0].prompt == "Where?"
    assert answers.predictions[0].image_id == "i1.jpg"
    assert answers.notes == {"true answers that were no text, converted": 1}


def test_own_predictions_need_no_truth(tmp_path, make_prediction):
    with PredictionWriter(tmp_path / "p.jsonl") as writer:
        writer.write([make_prediction("1"), make_prediction("2", prediction=" ")])
    answers = read_answers(tmp_path / "p.jsonl")
    assert [p.id for p in answers.predictions] == ["1", "2"]
    assert answers.notes == {"empty answers, counted wrong": 1}


def test_harness_samples(write):
    lines = [
        {"doc_id": 0, "target": "yes", "filtered_resps": ["Yes"], "doc": {"question": "Sick?", "image_id": "x"}},
        {"doc_id": 1, "target": "lung", "resps": [["heart"]]},
    ]
    first, second = read_answers(write("samples.jsonl", lines, lines=True)).predictions
    assert (first.answer_type, first.score, first.image_id, first.prompt) == ("closed", 1, "x", "Sick?")
    assert (second.answer_type, second.prediction) == ("open", "heart")


def test_missing_answers_are_refused_unless_allowed(write):
    said, truth = write("a.jsonl", SAID[:1], lines=True), write("gt.json", TRUTH)
    with pytest.raises(ValueError, match=r"2 questions of .* have no answer: 1, 2; --allow-missing"):
        read_answers(said, truth)
    answers = read_answers(said, truth, allow_missing=True)
    assert [p.score for p in answers.predictions] == [0, 0, 1]
    assert answers.notes["questions without an answer, counted wrong"] == 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([*SAID, {"question_id": 1, "text": "x"}], "question 1 is answered twice"),
        ([*SAID, {"question_id": 9, "text": "x"}], "1 ids are not in .*: 9"),
        ([{"foo": 1}], "unknown format with foo"),
        ([[1]], r"a\.jsonl:1: expected a JSON object, found list"),
        ([], "holds no answers"),
    ],
)
def test_bad_answer_files(write, said, message):
    with pytest.raises(ValueError, match=message):
        read_answers(write("a.jsonl", said, lines=True), write("gt.json", TRUTH))


def test_bad_truth_files(write):
    said = write("a.jsonl", SAID, lines=True)
    with pytest.raises(ValueError, match="--gt"):
        read_answers(said)
    for bad, message in [
        ([{"id": 1, "question": "?"}], "entry 0 has no answer; found id, question"),
        ([truth_entry(1, "x", "MAYBE")], "answer_type 'MAYBE' is not one of"),
        ({}, "expected a list of questions"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_answers(said, write("bad.json", bad))


def test_null_and_other_values_are_counted(write):
    said = [{"question_id": 1, "text": None}, {"question_id": 2, "text": True}, {"question_id": 3, "text": 4}]
    answers = read_answers(write("a.jsonl", said, lines=True), write("gt.json", TRUTH))
    assert [p.prediction for p in answers.predictions] == ["", "True", "4"]
    assert answers.notes["answers that are missing or null, counted wrong"] == 1
    assert answers.notes["answers that were no text, converted"] == 2


def test_repeated_question_ids_are_joined_in_order_or_not_at_all(write):
    truth = write("gt.json", [truth_entry(7, "left"), truth_entry(7, "right")])
    said = [{"question_id": 7, "text": "left"}, {"question_id": 7, "text": "right"}]
    answers = read_answers(write("a.jsonl", said, lines=True), truth)
    assert [(p.id, p.score) for p in answers.predictions] == [("7#0", 1), ("7#1", 1)]
    with pytest.raises(ValueError, match="repeats ids"):
        read_answers(write("b.jsonl", said[:1], lines=True), truth)


def test_candidates(write):
    assert read_candidates(write("c.json", {"0": ["left", 4]})).answers == ("left", "4")
    assert read_candidates(write("d.json", ["left"])).answers == ("left",)
    with pytest.raises(ValueError, match="expected a list of answers"):
        read_candidates(write("e.json", {"1": []}))


def test_lines_without_an_id_and_answers_in_another_script_are_named(write):
    gt = write("gt.json", TRUTH)
    with pytest.raises(ValueError, match=r"a\.jsonl:2: no question_id; found text"):
        read_answers(write("a.jsonl", [SAID[0], {"text": "no"}], lines=True), gt)
    said = [{**SAID[0], "text": "４"}, {**SAID[1], "text": "左"}, {**SAID[2], "text": "não"}]
    notes = read_answers(write("b.jsonl", said, lines=True), gt).notes
    assert notes["answers in another script than the truth; no protocol translates"] == 1
