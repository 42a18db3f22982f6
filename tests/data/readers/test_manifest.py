import io
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from medgraph.data.errors import DataError
from medgraph.data.readers import read
from medgraph.data.readers.manifest import corpus_from_rows


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
    groups = [{record.group for record in records} for records in corpus.splits.values()]
    assert all(not a & b for i, a in enumerate(groups) for b in groups[:i])


def test_published_splits_and_renamed_columns(write):
    rows = [{"file": f"{i}.png", "q": "What?", "a": "x", "split": ("train", "test")[i % 2]} for i in range(20)]
    corpus = read("manifest", write("a.csv", rows), columns={"image": "file", "question": "q", "answer": "a"})
    assert len(corpus.splits["test"]) == 10


def test_labelled_images_get_questions(write, records_of):
    records = records_of(read("manifest", write("a.csv", images())))
    assert {record.answer_type for record in records} == {"choice", "open"}
    assert {record.subset for record in records} == {"mine"}
    assert records[0].group.startswith("p")


def test_embedded_images_are_written_once(write, tmp_path, records_of):
    rows = [{"image": {"bytes": png(i % 3), "path": None}, "question": f"Q{i}?", "answer": "yes"} for i in range(12)]
    corpus = corpus_from_rows(iter(rows), tmp_path / "table", tmp_path)
    records = records_of(corpus)
    assert len({record.image_id for record in records}) == 3
    assert len(list((tmp_path / "extracted").iterdir())) == 3
    assert corpus.load_image(records[0].image, 9).shape == (9, 9, 3)


def test_datasets_on_disk_and_streaming(tmp_path, records_of):
    rows = [{"image": Image.open(io.BytesIO(png(i))), "question": f"Q{i}?", "answer": "yes"} for i in range(6)]
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(tmp_path / "saved")
    corpus = read("manifest", tmp_path / "saved")
    assert len(corpus.splits["test"]) == 1
    assert any("also training images" in note for note in corpus.notes)
    stream = table.cast_column("image", datasets.Image(decode=False)).to_iterable_dataset()
    assert len(records_of(corpus_from_rows(stream, tmp_path / "stream", tmp_path))) == 6


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
        corpus_from_rows([{"image": 3, "question": "q", "answer": "a"}], tmp_path / "t", tmp_path)


def test_only_some_splits_are_refused(write):
    rows = [{**row, "split": "train" if i else ""} for i, row in enumerate(images())]
    with pytest.raises(ValueError, match=r"0\.png has no split but others have"):
        read("manifest", write("a.csv", rows))
