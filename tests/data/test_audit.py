import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from medgraph.config import MedMATConfig
from medgraph.data import read
from medgraph.data.audit import audit
from medgraph.data.errors import DataError
from medgraph.data.images import ImageFolder
from medgraph.data.medmat import build_medmat
from medgraph.data.records import Corpus, MATTriplet, Record

SHARED = Path(__file__).parents[3] / "shared" / "data"


def record(split, name, subset="s", group=None):
    return Record(id=f"{split}-{name}", image_id=name, image=name, question="q", answer="a", extended="a",
                  answer_type="open", question_type="t", triplet=MATTriplet("CT", "Lung", "state"), label="a",
                  subset=subset, group=group or name)  # fmt: skip


def corpus(root, **splits):
    return Corpus({split: [record(split, *args) for args in rows] for split, rows in splits.items()}, ImageFolder(root))


@pytest.fixture
def root(tmp_path, make_release):
    make_release({3: {"a": 6, "b": 6}})
    folder = tmp_path / "release" / "med-mat" / "set 3" / "a"
    for i in range(1, 7):
        Image.open(folder / f"a- ({i}).png").resize((90, 70)).save(folder / f"{i}.png")
    return folder


def test_a_clean_corpus_says_what_was_compared(root):
    report = audit(corpus(root, train=[("1.png",), ("2.png",)], test=[("3.png",)]), root)
    assert report.clean
    assert report.verdict() == (
        "No leak between splits; 3 images compared by same image, equal content, same group, near duplicate."
    )


def test_every_kind_of_leak_is_found(root):
    shutil.copy(root / "2.png", root / "copy.png")
    Image.eval(Image.open(root / "3.png").resize((60, 60)), lambda v: 255 - v // 2).save(root / "near.jpg", quality=60)
    shutil.copy(root.parent / "b" / "b- (1).png", root / "other.png")
    splits = {
        "train": [("1.png",), ("2.png",), ("3.png",), ("4.png", "s", "patient 4"), ("5.png",)],
        "test": [("1.png",), ("copy.png",), ("near.jpg",), ("6.png", "s", "patient 4"), ("other.png",)],
    }
    patients = {"5.png": "p5", "other.png": "p5"}
    report = audit(corpus(root, **splits), root, patients=patients)
    kinds = ("same_image", "equal_content", "same_group", "same_patient", "near_duplicate")
    assert report.counts() == {(kind, "train", "test"): 1 for kind in kinds}
    assert not report.clean
    assert report.verdict().startswith(
        "LEAK: 4 of 5 test images are also in train (same image, equal content, same group, same patient); "
        "1 of 5 test images look like images of train (near duplicate). For example train 1.png and test 1.png."
    )
    assert report.notes()["test images that train shares (near duplicate)"] == 1
    assert ("near_duplicate", "train", "test") not in audit(corpus(root, **splits), root, near=False).counts()


def test_what_the_verdict_advises_removes_the_leaks(root):
    """A published split, with an image in both, a copy under another name, and one patient in both."""
    shutil.copy(root / "2.png", root / "copy.png")
    rows = [("1.png", "train", "1"), ("2.png", "train", "2"), ("3.png", "train", "p"), ("5.png", "train", "5"),
            ("1.png", "test", "1"), ("copy.png", "test", "copy"), ("6.png", "test", "p")]  # fmt: skip
    table = root / "table.csv"

    def audited(rows, **options):
        with table.open("w", newline="") as file:
            csv.writer(file).writerows(
                [
                    ("image", "split", "group", "question", "answer"),
                    *((*row, f"q{i}?", "a") for i, row in enumerate(rows)),
                ]
            )
        return audit(read("manifest", table, **options), root, near=False)

    verdict = audited(rows).verdict()
    assert "(same image, equal content, same group)" in verdict
    assert "data.rule=clean takes" in verdict
    assert "stay together under one group: the column group of a table, groups.csv" in verdict
    assert verdict.endswith("medgraph data audit PATH --out FILE lists all of them.")
    assert set(audited(rows, rule="clean").counts()) == {("equal_content", "train", "test"),
                                                         ("equal_content", "task", "test")}  # fmt: skip
    grouped = [(image, split, "2" if group == "copy" else group) for image, split, group in rows]
    assert audited(grouped, rule="clean").clean


def test_of_two_data_sets_one_is_to_be_trained_on(root):
    between = audit(corpus(root, **{"a:train": [("1.png",)], "b:test": [("1.png",)]}), root).verdict()
    assert "Of two data sets that share pictures, train on one. medgraph data audit" in between
    assert "data.rule" not in between


COPIES = {
    "resized": lambda image: image.resize((image.width // 2, image.height // 2)),
    "re-encoded": lambda image: image,
    "inverted": lambda image: Image.eval(image, lambda v: 255 - v),
    "brightened": lambda image: Image.eval(image, lambda v: min(255, v + 40)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_planted_copies_of_training_images_are_found(root, kind):
    for i in (2, 5):
        COPIES[kind](Image.open(root / f"{i}.png")).save(root / f"copy {i}.jpg", quality=70)
    report = audit(
        corpus(root, train=[(f"{i}.png",) for i in range(1, 7)], test=[("copy 2.jpg",), ("copy 5.jpg",)]), root
    )
    found = {(leak.kind, leak.first.image, leak.second.image) for leak in report.leaks}
    assert found == {("near_duplicate", f"{i}.png", f"copy {i}.jpg") for i in (2, 5)}


def test_training_twice_on_an_image_is_no_leak(root):
    data = {"train": [("1.png",), ("2.png",)], "task": [("1.png",)], "val": [("2.png",)]}
    report = audit(corpus(root, **data), root, near=False)
    assert report.counts() == {("same_image", "train", "val"): 1}
    assert report.images == 2


def test_a_large_group_on_both_sides_is_reported_once_an_image(root):
    rows = [(f"{i}", "s", "one patient") for i in range(400)]
    report = audit(corpus(root, train=rows[:200], test=rows[200:]), None)
    assert report.counts() == {("same_group", "train", "test"): 200}
    assert len(report.leaks) == 200
    assert report.compared == ("same_image", "same_group")


def test_a_missing_image_is_named(root):
    with pytest.raises(DataError, match=r"gone\.png: found 'No such file or directory'"):
        audit(corpus(root, train=[("gone.png",)]), root, near=False)


def test_subsets_that_share_an_image_or_a_source_are_named(root):
    data = corpus(root, train=[("1.png", "s"), ("1.png", "t"), ("2.png", "t")])
    report = audit(data, root, sources={"1.png": "hospital", "2.png": "elsewhere"})
    assert report.counts() == {("same_image", "train", "train"): 1}
    assert report.sources == {"hospital": {("train", "s"): 1, ("train", "t"): 1}}
    assert report.clean


def test_report_is_shown_and_written(root, tmp_path):
    report = audit(corpus(root, train=[("1.png",)], test=[("1.png",)]), root)
    console = Console(record=True, width=140)
    console.print(report.render())
    assert "same image" in console.export_text()
    report.write(tmp_path / "audit.json")
    assert json.loads((tmp_path / "audit.json").read_text())["leaks"][0]["second"]["image"] == "1.png"


def test_equal_files_under_other_names_leave_training(make_release):
    root = make_release({3: {"a": 30, "b": 30}, 5: {"a": 30, "b": 30}, 28: {"a": 30, "b": 30}})
    config = MedMATConfig(root=str(root), ood_subsets=["28"])
    before = build_medmat(config)
    ood = before.splits["ood"][0].image
    trained = before.splits["train"][0].image
    shutil.copy(root / ood, root / trained)
    after = build_medmat(config)
    assert after.notes["images left out because a later split has a file with equal content"] == 1
    assert trained not in {record.image for record in after.splits["train"]}
    assert audit(after, root, near=False).clean
    planted = replace(after, splits={**after.splits, "train": before.splits["train"]})
    assert audit(planted, root, near=False).counts() == {("equal_content", "train", "ood"): 1}


@pytest.mark.skipif(not SHARED.is_dir(), reason="VQA-RAD is not on this machine")
def test_all_test_images_of_vqa_rad_are_training_images():
    root = SHARED / "vqa-rad"
    report = audit(read("vqa_rad", root), root, near=False)
    assert report.verdict().startswith("LEAK: 203 of 203 test images are also in train")
    assert "(same image). For example train images/" in report.verdict()
    assert audit(read("vqa_rad", root, rule="clean"), root, near=False).clean


@pytest.mark.skipif(not SHARED.is_dir(), reason="VQA-RAD is not on this machine")
def test_202_test_images_of_the_public_file_are_training_images(tmp_path):
    rows = []
    for split, prefix in (("train", ""), ("test", "test_")):
        for row in json.loads((SHARED / "vqa-rad" / f"{split}set.json").read_text()):
            rows += [{**row, "phrase_type": prefix + row["phrase_type"]}] if row["phrase_type"] != "frame" else []
    (tmp_path / "VQA_RAD.json").write_text(json.dumps(rows))
    (tmp_path / "images").symlink_to(SHARED / "vqa-rad" / "images")
    assert len(rows) == 2248
    assert audit(read("vqa_rad", tmp_path), tmp_path, near=False).verdict().startswith("LEAK: 202 of 203 test images")


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real images are not on this machine")
def test_copies_that_the_groups_of_the_real_images_miss():
    root = SHARED / "med-mat"
    with (root / "groups.csv").open() as file:
        patients = {row["image"]: row["person"] for row in csv.DictReader(file)}
    report = audit(build_medmat(MedMATConfig(root=str(root))), root, patients)
    pairs = {frozenset((leak.first.image[-19:], leak.second.image[-19:])) for leak in report.leaks}
    assert frozenset(("emorrhage- (39).jpg", "emorrhage- (45).jpg")) in pairs
