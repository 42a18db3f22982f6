from dataclasses import replace

import numpy as np

from medgraph.training.views import corrupted_views, plain_views, rotated_views, shuffle_images


def test_every_question_gets_the_image_of_another(corpus):
    records = corpus.splits["test"]
    shuffled = shuffle_images(records)
    assert [r.id for r in shuffled] == [r.id for r in records]
    assert all(
        new.image != old.image and new.image_id == old.image_id for new, old in zip(shuffled, records, strict=True)
    )
    partner = {old.image: new.image for new, old in zip(shuffled, records, strict=True)}
    assert len(set(partner.values())) == len(partner), "each image is used once"
    assert shuffle_images(records[:1]) == []


def test_views_of_a_split(corpus, images):
    splits = {"test": corpus.splits["test"]}
    assert [view.control for view in plain_views(splits, images, controls=False)] == ["none"]
    plain = list(plain_views(splits, images, controls=True))
    assert [view.control for view in plain] == ["none", "no_image", "shuffled_image"]
    assert plain[1].images is None
    (low, *_) = corrupted_views(splits, images, ["brightness"])
    name = splits["test"][0].image
    assert low.control == "brightness/low"
    assert np.mean(low.images(name)) > np.mean(images(name))


def test_rotations_keep_the_truth_and_leave_open_questions_out(corpus, images):
    question = corpus.splits["test"][0]
    two, three = (
        replace(question, id=str(len(options)), answer_type="choice", options=options, answer="x")
        for options in (("x", "y"), ("x", "y", "z"))
    )
    views = list(rotated_views({"test": [question, two, three]}, images))
    assert [(view.control, [r.options for r in view.records]) for view in views] == [
        ("rotation_1", [("y", "x"), ("y", "z", "x")]), ("rotation_2", [("z", "x", "y")]),
    ]  # fmt: skip
    assert list(rotated_views({"test": []}, images)) == []
