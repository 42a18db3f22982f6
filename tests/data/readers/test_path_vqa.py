import datasets
import pytest

from medgraph.data import read
from medgraph.data.errors import DataError


def test_parquet_files_with_images(write, tmp_path, records_of):
    for split, seed in (("train", 0), ("validation", 1), ("test", 2)):
        content = write(f"{split}.png").read_bytes()
        rows = [{"image": {"bytes": content, "path": None}, "question": f"{q}{seed}?", "answer": "yes"} for q in "ab"]
        (tmp_path / "data").mkdir(exist_ok=True)
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    corpus = read("path_vqa", tmp_path)
    assert {name: len(records) for name, records in corpus.splits.items()}["test"] == 2
    assert len(corpus.splits["val"]) == 2
    assert len({record.image_id for record in records_of(corpus)}) == 3
    assert {record.subset for record in records_of(corpus)} == {"path-vqa"}


def test_missing_splits(tmp_path):
    with pytest.raises(DataError, match="download all three splits"):
        read("path_vqa", tmp_path)
