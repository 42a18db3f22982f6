import json

import pytest

from medgraph.data.extend.conversations import Conversation, from_records
from medgraph.data.extend.job import (
    expected_calls,
    extend_by_model,
    extend_by_template,
    template_answer,
    write_problems,
)
from medgraph.data.extend.prompt import SYSTEM, extension_messages, read_answers
from medgraph.data.records import MATTriplet, Record
from medgraph.llm.ask import Asker, estimate
from medgraph.llm.chat import Reply
from medgraph.llm.journal import Journal
from medgraph.llm.throttle import Throttle

SETTINGS = {"model": "writer"}


def record(number: int, triplet: str = "unspecified/unspecified/vqa", **values) -> Record:
    kept = {"question": f"Is there {number}?", "answer": "no", "label": "", "options": (), **values}
    return Record(id=f"set/{number}", image_id=f"{number // 2}.png", image=f"{number // 2}.png", extended="",
                  answer_type="open", question_type="vqa", triplet=MATTriplet.parse(triplet), subset="set",
                  group="", **kept)  # fmt: skip


class Writer:
    """Extends by doubling, refuses image 1, answers one text too few for image 2, and counts who was asked."""

    def __init__(self) -> None:
        self.settings, self.asked = SETTINGS, []

    def __call__(self, messages):
        questions = json.loads(messages[1]["content"])["questions"]
        self.asked.append(questions[0]["question"])
        if "Is there 2?" in self.asked[-1]:
            return Reply("I'm sorry, I cannot do that.")
        answers = [f"{q['short answer']}, indeed {q['short answer']}" for q in questions]
        return Reply(json.dumps({"answers": answers[1:] if "Is there 4?" in self.asked[-1] else answers}))


@pytest.fixture
def conversations():
    return from_records([record(i) for i in range(8)])


@pytest.fixture
def extend(conversations, tmp_path):
    def extend():
        model = Writer()
        with Journal(tmp_path / "journal.jsonl") as journal:
            asker = Asker(model, journal)
            return extend_by_model(conversations, asker, Throttle(), workers=2, retries=1), model.asked, asker.usage

    return extend


def test_everything_is_accounted_for(extend, tmp_path):
    result, asked, _ = extend()
    assert result.long == {name: ["no, indeed no"] * 2 for name in ("0.png", "3.png")}
    assert {name: outcome.kind for name, outcome in result.problems} == {"1.png": "refused", "2.png": "invalid"}
    assert result.unusable == 2
    assert len(asked) == 5
    write_problems(tmp_path / "problems.jsonl", result.problems)
    lines = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
    refused = next(line for line in lines if line["kind"] == "refused")
    assert (refused["id"], refused["text"]) == ("1.png", "I'm sorry, I cannot do that.")
    assert "list of 2 texts" in next(line for line in lines if line["kind"] == "invalid")["reason"]


def test_a_second_run_asks_nobody_and_says_the_same(extend):
    first, _, _ = extend()
    second, asked, usage = extend()
    assert asked == []
    assert usage.recalled == 5
    assert (second.long, sorted(second.problems, key=repr)) == (first.long, sorted(first.problems, key=repr))


def test_long_answers_are_kept_and_not_asked_for(conversations, extend):
    first = conversations[0]
    conversations[0] = Conversation(first.id, first.raw, first.records, ("kept", "as they are"))
    result, asked, _ = extend()
    assert result.long["0.png"] == ("kept", "as they are")
    assert "Is there 0?" not in asked


def test_the_estimate_knows_the_journal(conversations, extend, tmp_path):
    before = estimate(expected_calls(conversations), SETTINGS, None)
    assert (before.calls, before.recorded) == (4, 0)
    assert 4 * len(SYSTEM) / 4 < before.prompt_tokens < 4 * len(SYSTEM) / 2
    assert before.completion_tokens >= 8 * 40
    extend()
    with Journal(tmp_path / "journal.jsonl") as journal:
        after = estimate(expected_calls(conversations), SETTINGS, journal)
        other = estimate(expected_calls(conversations), {"model": "other"}, journal)
    assert (after.calls, after.recorded, after.prompt_tokens) == (0, 4, 0)
    assert other == before


def test_the_model_is_told_what_is_known():
    known = record(1, "CT/Lung/covid", label="COVID", answer="yes")
    asked = json.loads(extension_messages(from_records([known])[0])[1]["content"])
    assert asked["known about the image"] == {
        "modality": "CT scan", "area": "lung", "task": "COVID-19 diagnosis", "label": "COVID",
    }  # fmt: skip
    assert asked["questions"] == [{"question": "Is there 1?", "short answer": "yes"}]
    assert "known" not in extension_messages(from_records([record(1)])[0])[1]["content"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "not JSON"),
        ('{"answer": ["a", "b"]}', "exactly the fields 'answers'"),
        ('{"answers": "ab"}', "list of 2 texts, one for each question, found str"),
        ('{"answers": ["a"]}', "found 1"),
        ('{"answers": ["a", ""]}', "non-empty text"),
        ('{"answers": ["a", 3]}', "found 3"),
        ('{"answers": ["a", "<image> b"]}', "without <image>"),
    ],
)
def test_answers_that_cannot_be_used(text, message):
    with pytest.raises(ValueError, match=message):
        read_answers(text, 2)


def test_templates_use_what_is_known(conversations):
    result = extend_by_template(conversations)
    assert set(result.long) == {c.id for c in conversations}
    assert all("Is there" in text and "no" in text for texts in result.long.values() for text in texts)
    label = template_answer(record(1, "US/Breast/cancer", answer="Benign", options=("Benign", "Normal")))
    assert all(word in label for word in ("ultrasound image", "breast", "cancer diagnosis", "Benign", "not Normal"))
    vqa = template_answer(record(1, "US/Breast/vqa"))
    assert vqa.startswith("This picture of the breast is of the kind ultrasound image. ")
    assert template_answer(record(1, "MRI/unspecified/vqa")).startswith("This picture is of the kind MRI slice. ")
