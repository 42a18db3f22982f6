from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_app.sources import find_reader
from medgraph.config import ConfigError


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(np.kron(coarse, np.ones((8, 8, 1), np.uint8))).save(path)


@pytest.fixture
def rad(tmp_path) -> Path:
    """VQA-RAD's form: four training images, two of which are the test images."""
    root = tmp_path / "rad"
    for name, images in (("train", range(4)), ("test", range(2))):
        rows = [
            {"qid": i, "image_name": f"{i}.png", "image_organ": "CHEST", "answer": "yes", "answer_type": "CLOSED",
             "question_type": "PRES", "question": f"Is there a finding {i}?"}
            for i in images
        ]  # fmt: skip
        for i in images:
            draw(root / "images" / f"{i}.png", i)
        (root / f"{name}set.json").write_text(json.dumps(rows))
    return root


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of pictures, one of which is an image of `rad` under another name and format."""
    draw(tmp_path / "pictures" / "new.png", 77)
    draw(tmp_path / "pictures" / "sub" / "known.jpg", 3)
    return tmp_path / "pictures"


def test_list_can_be_narrowed(medgraph):
    code, out, _ = medgraph("data", "list", "--modality", "ct", "--task", "state")
    assert code == 0
    assert [f"subset-{i:02d}" in out for i in (2, 3, 4, 5, 6)] == [False, True, True, True, True]
    assert medgraph("data", "list")[1].count("subset-") == 53
    assert medgraph("data", "list", "--only-open")[1].count("subset-") == 20


def test_list_of_an_unknown_word(medgraph):
    code, _, err = medgraph("data", "list", "--modality", "tc")
    assert (code, err.startswith("medgraph: error: unknown modality 'tc'")) == (2, True)


@pytest.mark.parametrize("columns", ["100", "160"])
def test_nothing_is_cut_off(medgraph, monkeypatch, rad, columns):
    monkeypatch.setenv("COLUMNS", columns)
    for command in (["list"], ["matrix"], ["show", "28"], ["show", rad], ["audit", rad]):
        assert "…" not in medgraph("data", *command)[1]


def test_show_a_subset_by_number_and_triplet(medgraph):
    assert medgraph("data", "show", "28") == medgraph("data", "show", "x-ray/lung/covid")
    assert "COVID-19 and Pneumonia Classification" in medgraph("data", "show", "28")[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [("mnist", "neither phantom nor a path, and 'mnist' is not a triplet"), ("99", "unknown subset '99'")],
)
def test_show_of_something_unknown(medgraph, name, message):
    code, out, err = medgraph("data", "show", name)
    assert (code, out) == (2, "")
    assert message in err


def test_show_phantom_draws_everything_there_is(medgraph, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert medgraph("data", "show", "phantom", "--out", sheet, "--side", 32) == (0, f"{sheet}\n", "")
    with Image.open(sheet) as image:
        assert min(image.size) > 7 * 32
    assert medgraph("data", "show", "phantom", "--out", sheet, "--side", 16)[0] == 2


def test_show_a_data_set(medgraph, rad, tmp_path):
    code, out, err = medgraph("data", "show", rad, "--out", tmp_path / "sheet.png")
    assert (code, err) == (0, "")
    assert "images of the test split that are also training images" in out
    assert (tmp_path / "sheet.png").is_file()


def test_check_passes_and_fails(medgraph, rad, pictures, tmp_path):
    assert medgraph("data", "check", rad) == (0, f"6 records and 4 images of {rad}: nothing wrong.\n", "")
    (pictures / "cut.png").write_bytes((pictures / "new.png").read_bytes()[:60])
    code, out, _ = medgraph("data", "check", pictures, "--quarantine", "--out", tmp_path / "found.json")
    assert code == 1
    assert "3 images" in out
    assert json.loads((tmp_path / "found.json").read_text())["images"] == 3
    assert (pictures / "quarantine.txt").read_text() == "cut.png\n"


def test_audit_finds_test_images_in_training(medgraph, rad, tmp_path):
    code, out, _ = medgraph("data", "audit", rad, "--no-near", "--out", tmp_path / "found.json")
    assert code == 1
    assert "LEAK: 2 of 2 test images are also in train" in out
    assert json.loads((tmp_path / "found.json").read_text())["verdict"].startswith("LEAK: 2 of 2")


def test_audit_compares_data_sets(medgraph, rad, pictures):
    code, out, _ = medgraph("data", "audit", rad, pictures)
    assert code == 1
    assert f"1 of 2 {pictures}:images images" in " ".join(out.split())
    assert "near duplicate" in out


def test_audit_of_clean_data(medgraph, pictures):
    code, out, _ = medgraph("data", "audit", pictures)
    assert code == 0
    assert out.startswith("No leak between splits; 2 images compared by same image")


def test_readers_are_found(rad, pictures, tmp_path):
    (tmp_path / "release" / "Aggregated_Subsets").mkdir(parents=True)
    (tmp_path / "table.csv").touch()
    assert [find_reader(path) for path in (rad, pictures, tmp_path / "release", tmp_path / "table.csv")] == [
        "vqa_rad",
        "images",
        "medmat",
        "manifest",
    ]
    assert find_reader(rad, "images") == "images"


@pytest.mark.parametrize(
    ("path", "reader", "message"),
    [
        ("nix", "", r"nix: no such file or folder"),
        ("odd.txt", "", r"odd.txt: expected a folder, or a file that ends in .json"),
        ("odd.txt", "folder", r"--reader folder: expected one of medmat, images, vqa_rad"),
    ],
)
def test_readers_that_cannot_be_found(tmp_path, path, reader, message):
    (tmp_path / "odd.txt").touch()
    with pytest.raises(ConfigError, match=message):
        find_reader(tmp_path / path, reader)


def test_an_empty_folder_names_the_readers(medgraph, tmp_path):
    code, _, err = medgraph("data", "audit", tmp_path)
    assert code == 2
    assert "has no images and is no known data set; name its reader: --reader NAME" in err
