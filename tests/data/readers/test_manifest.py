import io
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from medgraph.config import Columns, HFConfig, ManifestConfig
from medgraph.data import read
from medgraph.data.errors import DataError
from medgraph.data.readers.manifest import corpus_from_dataset, corpus_from_rows


def questions(count=40, **more):
    row = {"question": "Which side?", "answer": "left", "options": "left|right", "modality": "CT", "area": "lungs"}
    return [{"image": f"{i}.png", "group": f"p{i // 2}", "subset": "mine", **row, **more} for i in range(count)]


def images(count=40):
    return [{"image": f"{i}.png", "label": "ab"[i % 2], "group": f"p{i // 2}", "modality": "CT", "area": "Lung",
             "task": "cancer", "subset": "mine"} for i in range(count)]  # fmt: skip


def png(seed=0):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet"])
def test_every_format_reads_the_same(write, tmp_path, records_of, name):
    rows = questions()
    write("other.csv", rows)  # makes the images
    if name.endswith("parquet"):
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / name)
    elif name.endswith("jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        write(name, rows)
    records = records_of(read("manifest", tmp_path / name))
    assert len(records) == 40
    assert records[0].options == ("left", "right")
    assert (records[0].answer_type, str(records[0].triplet)) == ("choice", "CT/Lung/vqa")


def test_missing_images_are_counted(write, tmp_path):
    for table in (questions(), images()):
        file = write("a.csv", table)
        (tmp_path / "7.png").unlink()
        with pytest.raises(DataError, match=r"found '7\.png'.*restore the 1 missing images of 40"):
            read("manifest", file)


def test_groups_are_kept_together(write):
    corpus = read("manifest", write("a.csv", questions(200)))
    groups = [{record.group for record in corpus.splits[name]} for name in ("task", "val", "test")]
    assert all(groups)
    assert all(not a & b for i, a in enumerate(groups) for b in groups[:i])


def test_published_splits_and_renamed_columns(write):
    rows = [{"file": f"{i}.png", "q": "What?", "a": "x", "split": ("train", "test")[i % 2]} for i in range(20)]
    corpus = read("manifest", write("a.csv", rows), columns=Columns(image="file", question="q", answer="a"))
    assert len(corpus.splits["test"]) == 10


def test_labelled_images_get_questions(write, records_of):
    records = records_of(read("manifest", write("a.csv", images())))
    assert {record.answer_type for record in records} == {"choice", "open"}
    assert {record.subset for record in records} == {"mine"}
    assert records[0].group.startswith("p")


def test_embedded_images_are_written_once(write, tmp_path, records_of):
    rows = [{"image": {"bytes": png(i % 3), "path": None}, "question": f"Q{i}?", "answer": "yes"} for i in range(12)]
    corpus = corpus_from_rows(iter(rows), ManifestConfig(root=str(tmp_path / "table")), tmp_path)
    records = records_of(corpus)
    assert len({record.image_id for record in records}) == 3
    assert len(list((tmp_path / "extracted").iterdir())) == 3
    assert corpus.load_image(records[0].image, 9).shape == (9, 9, 3)


@pytest.fixture
def table():
    rows = [{"picture": Image.open(io.BytesIO(png(i))), "q": f"Q{i}?", "cop": i % 2, "opts": ["left", "right"]}
            for i in range(6)]  # fmt: skip
    return datasets.Dataset.from_list(rows).cast_column("picture", datasets.Image())


COLUMNS = Columns(image="picture", question="q", answer="cop", options="opts")


def test_data_sets_on_disk(table, tmp_path):
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(tmp_path / "saved")
    corpus = read("hf", tmp_path / "saved", columns=COLUMNS)
    assert [record.answer for record in corpus.splits["test"]] == ["left"]
    assert any("also training images" in note for note in corpus.notes)
    assert corpus.load_image(corpus.splits["test"][0].image, 9).shape == (9, 9, 3)


def test_objects_and_streams_read_the_same(table, tmp_path):
    config = HFConfig(root=str(tmp_path / "mine"), images=str(tmp_path), columns=COLUMNS)
    whole, stream = (corpus_from_dataset(t, config) for t in (table, table.to_iterable_dataset(num_shards=2)))
    assert whole.fingerprint() == stream.fingerprint()
    assert len(whole.splits["task"]) + len(whole.splits["test"]) + len(whole.splits["val"]) == 6


def test_class_labels_become_names(tmp_path, write):
    rows = [{"image": write(f"{i}.png").name, "question": "Which side?", "answer": i % 2} for i in range(4)]
    named = datasets.Dataset.from_list(rows).cast_column("answer", datasets.ClassLabel(names=["left", "right"]))
    corpus = corpus_from_dataset({"test": named}, HFConfig(images=str(tmp_path)))
    assert [record.answer for record in corpus.splits["test"]] == ["left", "right"] * 2


def test_a_folder_of_tables_has_its_splits_in_their_names(write, tmp_path):
    for name, count in (("train-0.csv", 20), ("test/part.json", 4), ("dev.csv", 3)):
        write(name, [{**row, "id": f"{name} {i}", "group": name} for i, row in enumerate(questions(count))])
    corpus = read("hf", tmp_path)
    assert {name: len(records) for name, records in corpus.splits.items()} == {
        "train": 20, "task": 20, "val": 3, "test": 4, "ood": 0,
    }  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected a folder of save_to_disk"):
        read("hf", tmp_path / "empty")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image": "a.png"}], r"row 1: found \['image'\], expected image, and either label or question and answer"),
        (questions(1, answer="top"), r"row 1, field 'answer': found 'top', expected one of \['left', 'right'\]"),
        (questions(1, answer_type="maybe"), "field 'answer_type': found 'maybe', expected closed or open or choice"),
        (questions(1, split="exam"), "field 'split': found 'exam', expected train, val or test"),
        (questions(1, image="../x.png"), "field 'image': found '../x.png'"),
        ([{**images(1)[0], "area": "Lnug"}], "field 'modality, area, task'.*unknown area 'Lnug'"),
        ([{**images(1)[0], "label": ""}], "field 'label': found ''"),
    ],
)
def test_mistakes_name_row_and_column(write, rows, message):
    with pytest.raises(DataError, match=message):
        read("manifest", write("a.csv", rows))


def test_unreadable_tables(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": "a.png"')
    with pytest.raises(DataError, match=r"a\.jsonl, line 1"):
        read("manifest", tmp_path / "a.jsonl")
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"found '\.xlsx'"):
        read("manifest", tmp_path / "a.xlsx")
    with pytest.raises(DataError, match="expected a table"):
        read("manifest", tmp_path / "b.csv")
    with pytest.raises(DataError, match="expected a path, or the bytes"):
        corpus_from_rows([{"image": 3, "question": "q", "answer": "a"}], ManifestConfig(), tmp_path)


def test_only_some_splits_are_refused(write):
    rows = [{**row, "split": "train" if i else ""} for i, row in enumerate(images())]
    with pytest.raises(ValueError, match=r"0\.png has no split but others have"):
        read("manifest", write("a.csv", rows))
