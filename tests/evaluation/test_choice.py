import math

import pytest

from medgraph.evaluation.choice import best_options, circular_score, confusion_pairs, rotations

OPTIONS = ["benign", "malignant", "normal"]


def test_a_model_that_always_says_a_is_exposed():
    said = [["A"] * 3] * 2
    score = circular_score([OPTIONS] * 2, ["benign", "normal"], said)
    assert (score.accuracy, score.circular, score.consistent, score.unparsed) == (0.5, 0, 0, 0)


def test_a_model_that_knows_is_right_in_every_order_and_texts_count():
    said = [["B", "a", "malignant"], ["normal", "normal", "?"]]
    score = circular_score([OPTIONS] * 2, ["malignant", "normal"], said)
    assert score.circular == 0
    assert score.unparsed == pytest.approx(2 / 6), "a bare small a is an article"
    said[0][1] = "A"
    assert circular_score([OPTIONS] * 2, ["malignant", "normal"], said).circular == 0.5


def test_rotations_show_every_option_in_every_place():
    for place in range(3):
        assert {order[place] for order in rotations(OPTIONS)} == set(OPTIONS)
    with pytest.raises(ValueError, match="needs 3 answers, got 1"):
        circular_score([OPTIONS], ["benign"], [["A"]])


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
