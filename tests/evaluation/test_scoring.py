import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraph.evaluation.scoring import is_parsed, strict_score, token_overlap

WORDS = st.lists(st.sampled_from(["left", "lung", "mass", "upper"]), max_size=6)


@pytest.mark.parametrize(
    ("answer", "prediction", "kind", "score"),
    [
        ("yes", " YES. ", "closed", 1), ("no", "normal", "closed", 0), ("yes", "yes no", "closed", 0),
        ("yes", "", "closed", 0), ("", "", "open", 0), ("left lung", "The left lung", "open", 1),
        ("left lung", "in the left lung", "open", 0), ("left lung", "lung left", "open", 0),
    ],
)  # fmt: skip
def test_whole_answers(answer, prediction, kind, score):
    assert strict_score(answer, prediction, kind) == score


def test_choice_needs_a_truth_among_its_options():
    assert strict_score("b", "B", "choice", ["a cyst", "b"]) == 1
    with pytest.raises(ValueError, match="must be exactly one of its options"):
        strict_score("cyst", "A", "choice", ["a cyst", "tumor", "normal", "A cyst"])


def test_is_parsed():
    assert is_parsed("No", "closed")
    assert not is_parsed("no doubt", "closed")
    assert is_parsed("B", "choice", ["x", "y"])
    assert not is_parsed("C", "choice", ["x", "y"])
    assert not is_parsed(" . ", "open")


@given(WORDS, WORDS)
def test_overlap_equals_the_slow_reference(answer, prediction):
    left, hits = list(prediction), 0
    for word in answer:
        if word in left:
            left.remove(word)
            hits += 1
    overlap = token_overlap(" ".join(answer), " ".join(prediction))
    precision, recall = (hits / len(prediction), hits / len(answer)) if hits else (0.0, 0.0)
    assert overlap.precision == pytest.approx(precision)
    assert overlap.recall == pytest.approx(recall)
    assert overlap.f1 == pytest.approx(2 * precision * recall / (precision + recall) if hits else 0)


@given(WORDS, st.integers(1, 5))
def test_repeating_words_gains_no_recall(words, times):
    assert token_overlap("left lung mass", " ".join(words * times)).recall == pytest.approx(
        token_overlap("left lung mass", " ".join(sorted(set(words)))).recall
    )


def test_boxes_earn_their_intersection_over_union():
    truth = "{<0><0><50><100>}"
    assert strict_score(truth, truth, "open") == 1
    assert strict_score(truth, "{<0><0><25><100>}", "open") == pytest.approx(0.5)
    assert strict_score(truth, f"{truth}<delim>{{<60><0><90><10>}}", "open") == pytest.approx(0.5)
    assert strict_score(truth, "on the left", "open") == 0
