import json
from pathlib import Path

import pytest

from medgraph.data.errors import DataError
from medgraph.data.extend.conversations import from_file, from_records, join, write_long
from medgraph.data.readers.conversations import parse_conversation
from medgraph.data.records import MATTriplet, Record


def turns(*texts):
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


RAW = [
    {"id": "a", "image": "a.jpg", "domain": {"mri": True},
     "conversations": turns("<image>\nWhat?", "A mass.", "Where?", "Left.")},
    {"id": 7, "image": "b.jpg", "fig_caption": "Größe", "conversatons": turns("Is it?\n<image>", "Yes.")},
]  # fmt: skip


def record(number: int, image: str, modality: str = "CT", **values) -> Record:
    kept = {"question": f"What is {number}?", "answer": f"Answer {number}", "options": (), **values}
    return Record(id=f"set/{number}", image_id=image, image=image, extended="", answer_type="open", question_type="vqa",
                  triplet=MATTriplet(modality, "Lung", "vqa"), label="", subset="set", group=image, **kept)  # fmt: skip


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(RAW))
    return path


def read_back(path: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Question, answer and long answer of every conversation, as the reader sees them; "" where there is none."""
    found = {}
    for row in enumerate(json.loads(path.read_text())):
        records, long = parse_conversation(path, row)
        found[str(row[1]["id"])] = [(r.question, r.answer, r.extended if long else "") for r in records]
    return found


def test_what_is_written_is_read_back(file, tmp_path):
    conversations = from_file(file)
    write_long(tmp_path / "new" / "out.json", conversations, {"a": ["A large mass.", "On the left."]})
    assert read_back(tmp_path / "new" / "out.json") == {
        "a": [("What?", "A mass.", "A large mass."), ("Where?", "Left.", "On the left.")],
        "7": [("Is it?", "Yes.", "")],
    }
    written = json.loads((tmp_path / "new" / "out.json").read_text())
    assert [{k: v for k, v in raw.items() if k != "conversations_long"} for raw in written] == RAW
    assert [turn["value"] for turn in written[0]["conversations_long"][::2]] == ["<image>\nWhat?", "Where?"]


def test_long_answers_survive_a_second_round(file, tmp_path):
    write_long(tmp_path / "1.json", from_file(file), {"a": ["Long 1.", "Long 2."], "7": ["Long 3."]})
    again = from_file(tmp_path / "1.json")
    assert [conversation.long for conversation in again] == [("Long 1.", "Long 2."), ("Long 3.",)]
    write_long(tmp_path / "2.json", again, {c.id: c.long for c in again})
    assert (tmp_path / "2.json").read_text() == (tmp_path / "1.json").read_text()


def test_records_of_any_reader_become_conversations(tmp_path):
    records = [record(1, "x.png"), record(2, "y.png", "PET"), record(3, "x.png", options=("Answer 3", "b"))]
    conversations = from_records([*records, record(1, "x.png", options=("Answer 1", "b"))])
    write_long(tmp_path / "out.json", conversations, {})
    assert read_back(tmp_path / "out.json") == {
        "x.png": [("What is 1?", "Answer 1", ""), ("What is 3?", "Answer 3", "")],
        "y.png": [("What is 2?", "Answer 2", "")],
    }
    ct, pet = (
        parse_conversation(tmp_path, row)[0][0].triplet.modality for row in enumerate([c.raw for c in conversations])
    )
    assert (ct, pet) == ("CT", "unspecified"), "the layout has flags for five modalities only"


def test_data_sets_side_by_side(file, tmp_path):
    other = from_records([record(1, "a.jpg")])
    root, joined = join([(tmp_path / "images", from_file(file)), (tmp_path / "rad", other), (tmp_path / "rad", other)])
    assert root == tmp_path
    assert [c.id for c in joined] == ["a", "7", "a.jpg", "a.jpg#2"]
    assert [c.raw["image"] for c in joined] == ["images/a.jpg", "images/b.jpg", "rad/a.jpg", "rad/a.jpg"]
    assert [c.raw["id"] for c in joined] == ["a", 7, "a.jpg", "a.jpg#2"]
    assert join([(tmp_path, other)]) == (tmp_path, other)


def test_a_failure_leaves_the_old_file(file, tmp_path):
    (tmp_path / "out.json").write_text("old")
    with pytest.raises(ValueError, match="zip"):
        write_long(tmp_path / "out.json", from_file(file), {"a": ["only one"]})
    assert (tmp_path / "out.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json", "out.json"]


def test_mistakes_are_those_of_the_reader(file):
    file.write_text(json.dumps([{**RAW[0], "conversations": turns("only a question")}]))
    with pytest.raises(DataError, match=r"in\.json, record a, field 'conversations'"):
        from_file(file)
