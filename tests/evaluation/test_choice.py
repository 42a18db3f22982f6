import math

import pytest

from medgraph.evaluation.choice import best_options, circular_points, confusion_pairs, rotations

OPTIONS = ["benign", "malignant", "normal"]


def test_a_model_that_always_says_a_is_exposed():
    said = [["A"] * 3] * 2
    points = circular_points([OPTIONS] * 2, ["benign", "normal"], said)
    assert {name: each.tolist() for name, each in points.items()} == {
        "accuracy": [1, 0], "circular": [0, 0], "consistent": [0, 0], "unparsed": [0, 0]
    }  # fmt: skip


def test_a_model_that_knows_is_right_in_every_order_and_texts_count():
    said = [["B", "a", "malignant"], ["normal", "normal", "?"]]
    points = circular_points([OPTIONS] * 2, ["malignant", "normal"], said)
    assert points["circular"].tolist() == [0, 0]
    assert points["unparsed"] == pytest.approx([1 / 3, 1 / 3]), "a bare small a is an article"
    said[0][1] = "A"
    assert circular_points([OPTIONS] * 2, ["malignant", "normal"], said)["circular"].tolist() == [1, 0]


def test_rotations_show_every_option_in_every_place():
    for place in range(3):
        assert {order[place] for order in rotations(OPTIONS)} == set(OPTIONS)
    with pytest.raises(ValueError, match="needs 3 answers, got 1"):
        circular_points([OPTIONS], ["benign"], [["A"]])


def test_letters_a_question_does_not_have_are_never_chosen():
    assert best_options([[0.1, 0.2, 9.0], [0.0, 0.0, 9.0]], [2, 3]).tolist() == [1, 2]
    with pytest.raises(ValueError, match="1 to 2 scored options, got 3"):
        best_options([[0.0, 1.0]], [3])
    with pytest.raises(ValueError, match="NaN"):
        best_options([[0.0, math.nan]], [2])


def test_confusion_pairs():
    pairs, truth = ["p", "p", "q", "q"], ["x", "y", "x", "y"]
    right = confusion_pairs(pairs, ["x", "y", "x", "x"], truth)
    assert (right.n, right.set_accuracy, right.individual, right.confusion) == (2, 0.5, 0.75, 0.5)
    assert confusion_pairs(pairs, [None] * 4, truth).confusion == 0
    with pytest.raises(ValueError, match="pair 'q' has 1 questions"):
        confusion_pairs(["p", "p", "q"], ["x"] * 3, ["x"] * 3)
