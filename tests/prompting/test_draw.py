from __future__ import annotations

from collections import Counter

import pytest

from medgraph.config import ConfigError
from medgraph.data.errors import DataError
from medgraph.data.records import Corpus, MATTriplet, Record
from medgraph.prompting.draw import PARTS, draw, make_task

CT, MRI = MATTriplet("CT", "Lung", "diseases"), MATTriplet("MRI", "Lung", "diseases")


def records(label, count, triplet=CT, per_patient=1, prefix=""):
    """Images of one label; neighbours belong to the same patient."""
    names = [f"{prefix}{label}-{triplet.modality}-{i}" for i in range(count)]
    return [
        Record(
            id=name, image_id=name, image=name, question="", answer=label, extended="", answer_type="open",
            question_type="", triplet=triplet, label=label, subset="s",
            group=f"{prefix}{triplet.modality}-{i // per_patient}",
        )
        for i, name in enumerate(names)
    ]  # fmt: skip


def corpus(**splits):
    return Corpus({"train": [], "val": [], "test": [], **splits}, None)


@pytest.fixture(scope="module")
def task():
    """Two classes of 120 images, three of a patient, who may have both labels."""
    return make_task(corpus(ood=records("mass", 120, per_patient=3) + records("cyst", 120, per_patient=3)), 0)


def test_held_out_images_are_split_by_patient(task):
    patients = {part: {image.group for image in images} for part, images in task.images.items()}
    assert sum(len(images) for images in task.images.values()) == 240
    for part in PARTS:
        assert patients[part]
        assert not any(patients[part] & patients[other] for other in PARTS if other != part)


def test_shots_are_as_many_of_every_class_and_more_contain_fewer(task):
    drawn = {count: draw(task, "shots", count, seed=1) for count in (1, 2, 4, 8)}
    for count, positions in drawn.items():
        assert Counter(task.images["shots"][i].label for i in positions) == {0: count, 1: count}
    assert set(drawn[1]) < set(drawn[2]) < set(drawn[4]) < set(drawn[8])


def test_a_seed_is_a_draw_and_every_draw_takes_other_patients_first(task):
    assert draw(task, "shots", 4, seed=1) == draw(task, "shots", 4, seed=1) != draw(task, "shots", 4, seed=2)
    for seed in range(5):
        shown = [task.images["shots"][i] for i in draw(task, "shots", 8, seed)]
        assert len({(image.label, image.group) for image in shown}) == 16


def test_a_class_with_fewer_images_than_shots_is_named(task):
    with pytest.raises(DataError, match=r"class 'cyst' has \d+ images to draw shots from, fewer than 99; lower shots"):
        draw(task, "shots", 99, 0)
    with pytest.raises(DataError, match="to draw val from, fewer than 99; lower max_validation"):
        draw(task, "val", 99, 0)


def test_equal_labels_of_other_modalities_are_other_classes():
    held = [*records("mass", 9), *records("mass", 9, MRI), *records("cyst", 9)]
    task = make_task(corpus(ood=held), 0)
    assert task.names == ("cyst in CT scan of the lung", "mass in CT scan of the lung", "mass in MRI slice of the lung")
    assert task.base == 2
    assert task.texts(2).names == task.names
    assert "reading mass" in " ".join(task.texts(6).descriptions[2])


def test_without_held_out_images_the_splits_of_the_data_stand():
    splits = {split: records("mass", 3, prefix=split) + records("cyst", 3, prefix=split)
              for split in ("train", "task", "val", "test")}  # fmt: skip
    task = make_task(corpus(**splits), 0)
    assert task.names == ("cyst", "mass")
    assert {part: {image.image.split("mass")[0] for image in images if image.label}
            for part, images in task.images.items()} == {
        "shots": {"train", "task"}, "val": {"val"}, "test": {"test"}}  # fmt: skip
    with pytest.raises(ConfigError, match="has 1 classes"):
        make_task(corpus(ood=records("mass", 9)), 0)
