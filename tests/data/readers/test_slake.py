import pytest

from medgraph.data import read
from medgraph.data.errors import DataError


def row(qid, image="xmlab1/source.jpg", language="en", **more):
    return {"qid": qid, "img_name": image, "question": "Which organ?", "answer": "Liver", "answer_type": "OPEN",
            "q_lang": language, "content_type": "Organ", "modality": "MRI", "location": "Abdomen", **more}  # fmt: skip


@pytest.fixture
def root(write, tmp_path):
    write(
        "train.json",
        [row(i, f"xmlab{i}/source.jpg") for i in range(60)] + [row(60, language="zh", question="哪个器官？")],
    )
    write("validate.json", [row(100, "xmlab100/source.jpg")])
    write("test.json", [row(200, "xmlab200/source.jpg", answer="Yes", answer_type="CLOSED")])
    return tmp_path


def test_published_splits_and_fields(root, records_of):
    corpus = read("slake", root)
    assert [len(corpus.splits[name]) for name in ("val", "test", "ood")] == [1, 1, 0]
    assert len(corpus.splits["train"]) == len(corpus.splits["task"]) == 60
    record = corpus.splits["test"][0]
    assert (record.answer_type, record.question_type) == ("closed", "organ")
    assert str(record.triplet) == "MRI/Abdomen/vqa"
    assert record.image == "imgs/xmlab200/source.jpg"


@pytest.mark.parametrize(("language", "count"), [("en", 62), ("zh", 1), ("both", 63)])
def test_languages(root, records_of, language, count):
    assert len(records_of(read("slake", root, language=language))) == count


def test_mistakes(root, write):
    with pytest.raises(ValueError, match=r"data\.language: .*'de'"):
        read("slake", root, language="de")
    write("test.json", [row(200), row(200)])
    with pytest.raises(DataError, match="record slake/200, field 'id'"):
        read("slake", root)
    write("test.json", [row(200, answer_type="OPN")])
    with pytest.raises(DataError, match="record 200, field 'answer_type': found 'OPN'"):
        read("slake", root)
