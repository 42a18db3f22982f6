from collections import Counter

import pytest

from medgraph.data import read
from medgraph.data.errors import DataError


def fill(write, folder, counts):
    for label, count in counts.items():
        for i in range(count):
            write(f"{folder}/{label}/deep/{i}.png")


def test_a_folder_of_labels_becomes_two_records_an_image(write, tmp_path, records_of):
    fill(write, "mine", {"benign": 30, "malignant": 30})
    (tmp_path / "mine" / "benign" / "notes.txt").write_text("x")
    corpus = read("folder", tmp_path / "mine", triplet=["CT/Lung/cancer"])
    records = records_of(corpus)
    assert {record.subset for record in records} == {"mine"}
    assert Counter(record.answer_type for record in corpus.splits["train"])["choice"] == len(corpus.splits["train"]) / 2
    assert Counter(r.label for r in corpus.splits["test"]) == dict.fromkeys(
        ("benign", "malignant"), len(corpus.splits["test"]) // 2
    )
    assert corpus.load_image(records[0].image, 8).shape == (8, 8, 3)
    assert corpus.splits["ood"] == []


def test_published_splits_are_kept(write, tmp_path):
    for split, count in (("train", 40), ("test", 6)):
        fill(write, f"mine/{split}", {"benign": count, "malignant": count})
    corpus = read("folder", tmp_path / "mine", triplet=["CT/Lung/cancer"])
    assert {record.image.split("/")[0] for record in corpus.splits["test"]} == {"test"}
    assert len(corpus.splits["test"]) == 24
    assert {record.image.split("/")[0] for record in corpus.splits["train"]} == {"train"}
    assert corpus.splits["val"]


def test_several_subsets_with_one_held_out(write, tmp_path):
    named = {"ct-lung": "CT/Lung/cancer", "ct-brain": "CT/Brain/state", "xr-lung": "X-ray/Lung/state",
             "mri-brain": "MRI/Brain/cancer"}  # fmt: skip
    for name in named:
        fill(write, f"all/{name}", {"no": 10, "yes": 10})
    corpus = read("folder", tmp_path / "all", triplet=[f"{name}:{triplet}" for name, triplet in named.items()])
    assert len({record.subset for record in corpus.splits["ood"]}) == 1
    chosen = read(
        "folder",
        tmp_path / "all",
        triplet=[f"{name}:{triplet}" for name, triplet in named.items()],
        ood_subsets=["xr-lung"],
    )
    assert {record.subset for record in chosen.splits["ood"]} == {"xr-lung"}


def test_one_label_is_an_error(write, tmp_path):
    fill(write, "mine", {"benign": 3})
    with pytest.raises(DataError, match=r"found \['benign'\], expected at least two subfolders"):
        read("folder", tmp_path / "mine", triplet=["CT/Lung/cancer"])
    fill(write, "mine", {"malignant": 3})
    with pytest.raises(ValueError, match="unknown modality 'CTT'"):
        read("folder", tmp_path / "mine", triplet=["CTT/Lung/cancer"])
