from collections import Counter
from pathlib import Path

import pytest

from medgraph.data import read
from medgraph.data.errors import DataError

REAL = Path(__file__).parents[4] / "shared" / "data" / "vqa-rad"


def row(qid, image, answer="yes", kind="CLOSED", **more):
    return {"qid": qid, "image_name": image, "image_organ": "HEAD", "answer": answer, "answer_type": kind,
            "question_type": "PRES", "question": "Is it there?", "phrase_type": "freeform", **more}  # fmt: skip


@pytest.fixture
def files(write, tmp_path):
    write(
        "trainset.json", [row(i, f"{i}.png") for i in range(60)] + [row(99, "t.png", 3, "OPEN", question_type="PRSE")]
    )
    write(
        "testset.json", [row(1, "t.png", "no", "CLOSED "), row(2, "u.png", "mass", "OPEN", question_type="Size, POS")]
    )
    return tmp_path


def test_quirks_of_the_release(files, records_of):
    records = {record.id: record for record in records_of(read("vqa_rad", files))}
    integer = records["vqa-rad/train-60"]
    assert (integer.answer, integer.answer_type, integer.question_type) == ("3", "open", "pres")
    assert records["vqa-rad/test-0"].answer_type == "closed"
    assert records["vqa-rad/test-1"].question_type == "pos, size"
    assert records["vqa-rad/test-0"].triplet.area == "Brain"
    assert records["vqa-rad/test-0"].image == "images/t.png"
    assert "Is it there?" in integer.extended


def test_shared_images_are_counted_and_removed_on_request(files):
    official, clean = read("vqa_rad", files), read("vqa_rad", files, rule="clean")
    assert official.notes["images of the test split that are also training images, kept in training, as published"] == 1
    assert clean.notes["images of the test split that are also training images, left out of training"] == 1
    images = {name: {record.image_id for record in records} for name, records in clean.splits.items()}
    assert not images["test"] & (images["train"] | images["val"] | images["task"])
    assert official.splits["test"] == clean.splits["test"]


def test_the_public_file_is_split_by_phrase_type(write, tmp_path, records_of):
    phrases = ("freeform", "para", "test_freeform", "test_para")
    rows = [row(i, f"{i}.png", phrase_type=phrases[i % 4]) for i in range(80)]
    write("VQA_RAD Dataset Public.json", rows)
    corpus = read("vqa_rad", tmp_path)
    assert len(corpus.splits["test"]) == 40
    assert len(records_of(corpus)) == 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": None}, r"trainset\.json, record 0, field 'answer': found None"),
        ({"answer": [1]}, r"field 'answer': found \[1\], expected a text or a number"),
        ({"answer_type": "MAYBE"}, r"field 'answer_type': found 'MAYBE', expected CLOSED or OPEN"),
        ({"question": "  "}, r"field 'question': found '  '"),
    ],
)
def test_malformed_records(files, write, change, message):
    write("trainset.json", [{**row(0, "0.png"), **change}])
    with pytest.raises(DataError, match=message):
        read("vqa_rad", files)


def test_a_missing_test_file(files):
    (files / "testset.json").unlink()
    with pytest.raises(DataError, match=r"testset\.json: found None, expected a file"):
        read("vqa_rad", files)


def test_missing_images_are_counted(files):
    for i in (3, 4):
        (files / "images" / f"{i}.png").unlink()
    with pytest.raises(
        DataError, match=r"record vqa-rad/train-3, field 'image': found 'images/3\.png'.*2 missing images"
    ):
        read("vqa_rad", files)


def test_a_wrong_folder_and_a_wrong_rule(tmp_path, files):
    with pytest.raises(DataError, match="expected trainset"):
        read("vqa_rad", tmp_path / "nowhere")


def test_unknown_readers_are_suggested():
    with pytest.raises(ValueError, match="did you mean 'vqa_rad'"):
        read("vqarad", Path())


def test_stage_3_sees_the_whole_training_split_at_every_fraction(files):
    small, large = (read("vqa_rad", files, fraction=fraction) for fraction in (0.1, 0.4))
    images = [{record.image_id for record in corpus.splits["train"]} for corpus in (small, large)]
    assert (len(images[0]), len(images[1])) == (6, 23)
    assert images[0] < images[1]
    assert small.splits["task"] == large.splits["task"]
    assert small.splits["val"] == large.splits["val"] != []
    assert len(small.splits["task"]) + len(small.splits["val"]) == 61


def test_questions_of_an_image_can_be_capped(write, tmp_path):
    write("trainset.json", [row(i, f"{i % 20}.png") for i in range(100)])
    write("testset.json", [row(i, "t.png") for i in range(5)])
    corpus = read("vqa_rad", tmp_path, questions_per_image=2)
    assert set(Counter(record.image_id for record in corpus.splits["task"]).values()) == {2}
    assert len(corpus.splits["test"]) == 5
    left_out = corpus.notes["training questions left out by data.questions_per_image"]
    assert left_out == 3 * len(corpus.splits["task"]) / 2


def test_quarantine_leaves_out_and_counts(files, write):
    rows = [row(i, f"{i}.png") for i in range(60)]
    write("trainset.json", [*rows, row(60, "60.png", answer=None), row(61, "gone.png")])
    (files / "images" / "gone.png").unlink()
    (files / "quarantine.txt").write_text("images/3.png\n")
    corpus = read("vqa_rad", files, on_error="quarantine")
    kinds = ("missing field", "image missing", "image listed as unreadable")
    assert [corpus.notes[f"quarantined: {kind}"] for kind in kinds] == [1, 1, 1]
    assert len(corpus.splits["task"]) + len(corpus.splits["val"]) == 59
    write("trainset.json", [*rows[:40], *(row(i, "0.png", answer=None) for i in range(40, 60))])
    with pytest.raises(DataError, match=r"'20 of 61 records unusable', expected at most 10%; correct them"):
        read("vqa_rad", files, on_error="quarantine")


@pytest.mark.skipif(not REAL.is_dir(), reason="VQA-RAD is not on this machine")
def test_the_published_counts():
    corpus = read("vqa_rad", REAL)
    assert len(corpus.splits["test"]) == 451
    assert sum(len(corpus.splits[name]) for name in ("task", "val")) == 3064
    assert Counter(record.answer_type for record in corpus.splits["test"]) == {"closed": 272, "open": 179}
    assert corpus.notes["images of the test split that are also training images, kept in training, as published"] == 203
    assert corpus.load_image(corpus.splits["test"][0].image, 32).shape == (32, 32, 3)
