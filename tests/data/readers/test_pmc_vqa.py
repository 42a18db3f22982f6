import pytest

from medgraph.data import read
from medgraph.data.errors import DataError


def row(figure, version=2, answer="B", **more):
    choices = {"Choice A": " A: CT ", "Choice B": " B:MRI", "Choice C": "C: X-ray", "Choice D": " D: Ultrasound "}
    key = {"Answer": "MRI", "Answer_label": answer} if version == 1 else {"Answer": answer}
    return {"Figure_path": figure, "Question": "Which modality?", **choices, **key, **more}


def test_letters_become_texts_and_articles_are_groups(write, tmp_path, records_of):
    write("train_2.csv", [row(f"PMC{i // 2}_fig{i}.jpg") for i in range(80)])
    write("test_2.csv", [row("PMC7_figX.jpg", answer="D")])
    write("figures/x.png")
    corpus = read("pmc_vqa", tmp_path)
    record = corpus.splits["test"][0]
    assert (record.answer, record.options) == ("Ultrasound", ("CT", "MRI", "X-ray", "Ultrasound"))
    assert (record.answer_type, record.group, record.image) == ("choice", "PMC7", "figures/PMC7_figX.jpg")
    groups = {name: {r.group for r in records} for name, records in corpus.splits.items()}
    assert not groups["train"] & groups["val"]
    assert sum("also training images" in note for note in corpus.notes) == 1


def test_version_1_has_the_text_and_the_letter(write, tmp_path):
    write("train.csv", [row("a.jpg", 1), row("b.jpg", 1)])
    write("test.csv", [row("c.jpg", 1)])
    assert read("pmc_vqa", tmp_path, version=1).splits["test"][0].answer == "MRI"
    write("test.csv", [row("c.jpg", 1, "A")])
    with pytest.raises(
        DataError, match=r"record test-0, field 'Answer_label': found 'A: CT', expected the letter of 'MRI'"
    ):
        read("pmc_vqa", tmp_path, version=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "E"}, "field 'answer': found 'E', expected one of A, B, C, D"),
        ({"Choice C": " C: CT"}, "expected different options"),
        ({"Question": ""}, "field 'Question'"),
    ],
)
def test_malformed_rows(write, tmp_path, change, message):
    write("train_2.csv", [row("a.jpg", **change)])
    write("test_2.csv", [row("c.jpg")])
    with pytest.raises(DataError, match=message):
        read("pmc_vqa", tmp_path)


def test_missing_file_and_unknown_version(tmp_path):
    with pytest.raises(DataError, match=r"train_2\.csv: found None"):
        read("pmc_vqa", tmp_path)
    with pytest.raises(ValueError, match="version=3"):
        read("pmc_vqa", tmp_path, version=3)
