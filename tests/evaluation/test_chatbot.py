import json

import pytest

from medgraph.evaluation.chatbot import JUDGE_PROTOCOLS, judge_protocol, read_chat, read_line, read_ratings
from medgraph.evaluation.predictions import PredictionWriter

QUESTION = {
    "question_id": 3, "image": "x.jpg", "text": "<image>\nWhat is seen?", "gpt4_answer": "A mass.",
    "type": "conversation", "domain": {"mri": False, "ct_scan": True},
    "fig_label": "Figure 2", "fig_caption": "A scan.", "in_text_mention": [{"tokens": "Figure 2 shows it."}],
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return tmp_path / name

    return write


def test_answers_are_joined_by_id_not_by_position(write):
    questions = write("q.jsonl", QUESTION, {**QUESTION, "question_id": 4, "domain": {}, "type": "detailed_description"})
    answers = write("a.jsonl", {"question_id": 4, "text": "four"}, {"question_id": "3", "text": "three"})
    first, second = read_chat(answers, questions)
    assert (first.id, first.answer, first.question, first.reference) == ("3", "three", "What is seen?", "A mass.")
    assert (first.kind, first.domain, first.image_id) == ("conversation", "ct_scan", "x.jpg")
    assert first.context.startswith("Figure Caption:\nFigure 2: A scan.\n\nFigure Context:\n")
    assert (second.id, second.answer, second.domain) == ("4", "four", "unknown")


@pytest.mark.parametrize(
    ("questions", "answers", "message"),
    [
        ([QUESTION], [], r"a\.jsonl: every line must be a JSON object with question_id"),
        ([QUESTION, QUESTION], [{"question_id": 3, "text": ""}], r"q\.jsonl: 1 question_ids occur more than once: 3"),
        ([QUESTION], [{"question_id": 5, "text": ""}], "1 questions of .*q.jsonl have no answer: 3"),
        ([QUESTION], [{"question_id": 3, "text": ""}, {"question_id": 5, "text": ""}], "1 questions are not in .*: 5"),
        ([QUESTION], [{"question_id": 3, "text": None}], "a.jsonl, question 3: field 'text' must be text, found None"),
        (
            [{**QUESTION, "gpt4_answer": 3}],
            [{"question_id": 3, "text": ""}],
            "q.jsonl, question 3: field 'gpt4_answer'",
        ),
    ],
)
def test_what_does_not_fit_is_named(write, questions, answers, message):
    with pytest.raises(ValueError, match=message):
        read_chat(write("a.jsonl", *answers), write("q.jsonl", *questions))


def test_predictions_bring_their_reference(tmp_path, make_prediction):
    with PredictionWriter(tmp_path / "predictions.jsonl") as writer:
        prompt = "USER: <image>\nwhere is it? ASSISTANT:"
        writer.write([make_prediction("1", prompt=prompt), make_prediction("1", control="no_image")])
    (item,) = read_chat(tmp_path / "predictions.jsonl")
    assert (item.id, item.question, item.reference, item.domain) == ("test/1", "where is it?", "nodule", "CT")


def test_both_orders_show_the_same_answers(write):
    (item,) = read_chat(write("a.jsonl", {"question_id": 3, "text": " "}), write("q.jsonl", QUESTION))
    protocol = JUDGE_PROTOCOLS["both_orders"]
    texts = [protocol.messages(item, swapped)[1]["content"] for swapped in (False, True)]
    assert [text.index("A mass.") < text.index("(no answer)") for text in texts] == [True, False]
    assert all("[Context]" in text and "[End of Assistant 2]" in text and "assistant_1" in text for text in texts)
    bare = {**QUESTION, "fig_label": "", "fig_caption": "", "in_text_mention": None}
    alone = protocol.messages(
        read_chat(write("a.jsonl", {"question_id": 3, "text": ""}), write("q.jsonl", bare))[0], False
    )
    assert "[Context]" not in alone[1]["content"]


def test_the_published_line():
    assert read_line("8 9\nBecause …") == read_line("8, 9 ") == (8, 9)
    assert read_line("\n 7.5 10") == (7.5, 10)


@pytest.mark.parametrize("text", ["", "8", "8 9 10", "8/10 9/10", "Assistant 1: 8 9", "0 5", "5 11", "-1 5"])
def test_lines_that_are_no_ratings(text):
    with pytest.raises(ValueError, match=r"first line must hold two numbers|scores must be from 1 to 10"):
        read_line(text)


def test_strict_json():
    assert read_ratings('{"reason": "…", "assistant_1": 8, "assistant_2": 6.5}') == (8, 6.5)


@pytest.mark.parametrize(
    "text",
    [
        "8 9",
        '{"assistant_1": 8, "assistant_2": 9}',
        '{"reason": "", "assistant_1": "8", "assistant_2": 9}',
        '{"reason": "", "assistant_1": true, "assistant_2": 9}',
        '{"reason": "", "assistant_1": 0, "assistant_2": 9}',
        '{"reason": "", "assistant_1": 8, "assistant_2": NaN}',
    ],
)
def test_json_that_is_no_rating(text):
    with pytest.raises(ValueError, match=r"not JSON|exactly the fields|must be numbers|from 1 to 10"):
        read_ratings(text)


def test_unknown_protocol():
    with pytest.raises(ValueError, match="unknown judge protocol 'x'; known: both_orders, llava_med_chat"):
        judge_protocol("x")
