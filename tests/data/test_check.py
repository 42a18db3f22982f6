import json

import pytest
from PIL import Image
from rich.console import Console

from medgraph.config import MedMATConfig
from medgraph.data.check import check_corpus, check_folder, check_release, write_quarantine
from medgraph.data.medmat import build_medmat

LABELS = {"Benign": 20, "Normal": 20}


@pytest.fixture
def root(make_release):
    return make_release({4: LABELS, 5: LABELS, 28: LABELS, 6: LABELS})


def image(root, i, label="Benign", subset=4):
    return root / f"med-mat/set {subset}/{label}/{label}- ({i}).png"


def test_a_sound_release(root):
    report = check_release(root)
    assert report.ok
    assert (report.records, report.images) == (160, 160)
    assert report.verdict().endswith("nothing wrong.")
    assert check_release(root, ["4"]).images == 40


def test_everything_wrong_is_found_in_one_pass(root, edit, tmp_path):
    file = root / "Aggregated_Subsets" / "Subset--04-train.json"
    edit(file, 0, caption=None)
    edit(file, 1, Answer_choice="Q")
    edit(file, 2, image="../../secret.png")
    edit(file, 3, image="med-mat/set 4/benign/Benign- (4).PNG")
    edit(file, 25, image="med-mat/set 4/Benign/Benign- (5).png")
    image(root, 6).unlink()
    image(root, 7).write_bytes(b"")
    image(root, 8).write_bytes(image(root, 8).read_bytes()[:300])
    image(root, 9).write_text("<html>")
    Image.open(image(root, 10)).save(tmp_path / "x.bmp")
    (tmp_path / "x.bmp").rename(image(root, 10))
    Image.open(image(root, 11)).convert("RGBA").save(image(root, 11))
    (root / "Aggregated_Subsets" / "Subset--05-train.json").write_text('[{"id": 1, "cap')
    report = check_release(root)
    assert report.counts() == {
        "image_unreadable": 2, "missing_field": 1, "bad_letter": 1, "path_refused": 1, "label_conflict": 1,
        "image_missing": 1, "image_empty": 1, "json_unreadable": 1,
    }  # fmt: skip
    assert report.remarks == {
        "image paths that differ from the disk in case, spelling or folder, corrected": 1,
        "BMP images named .png, read by content": 1,
        "images of mode RGBA, converted to RGB": 1,
    }
    assert all(str(root) in str(problem) for problem in report.problems)
    report.write(tmp_path / "report.json")
    assert len(json.loads((tmp_path / "report.json").read_text())["problems"]) == 9
    console = Console(record=True, width=200)
    console.print(report.render())
    assert "bad letter" in console.export_text()


def test_what_a_check_lists_is_left_out_of_training(root):
    image(root, 8).write_bytes(b"")
    assert write_quarantine(check_release(root)) == root / "quarantine.txt"
    corpus = build_medmat(MedMATConfig(root=str(root), on_error="quarantine"))
    assert corpus.notes["quarantined: image listed as unreadable"] == 1
    assert check_corpus(corpus, root).ok


def test_corpora_and_plain_folders(root):
    corpus = build_medmat(MedMATConfig(root=str(root)))
    image(root, 8).write_bytes(b"")
    report = check_corpus(corpus, root)
    assert report.counts() == {"image_empty": 1}
    assert "subset-04, record subset-04/8/" in str(report.problems[0])
    folder = check_folder(root / "med-mat")
    assert (folder.images, folder.bad_images) == (160, ["set 4/Benign/Benign- (8).png"])


def test_a_single_label_is_remarked(make_release):
    root = make_release({4: {"Benign": 2, "Normal": 1}})
    file = root / "Aggregated_Subsets" / "Subset--04-train.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:2]))
    assert check_release(root).remarks == {"subsets with a single label, which cannot be asked about": 1}
