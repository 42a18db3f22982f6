import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraph.evaluation.parsing import normalise, parse_choice

TUMOUR = ["normal", "tumor", "no tumor"]
GRADES = ["grade 1", "grade 2", "grade 3", "grade 4"]


@pytest.mark.parametrize(
    ("text", "options", "index"),
    [
        ("Tumor", TUMOUR, 1),
        ("B", GRADES, 1), ("b", GRADES, 1), ("B.", GRADES, 1), ("(b)", GRADES, 1), (" b) ", GRADES, 1),
        ("B: grade 2", GRADES, 1), ("B grade 2", GRADES, 1), ("b - Grade 2.", GRADES, 1),
        ("**C**", GRADES, 2), ("A", GRADES, 0), ("a.", GRADES, 0), ("The answer is D.", GRADES, 3),
        ("Answer: c", GRADES, 2), ("the answer is option B", GRADES, 1), ("I think this is Grade 3.", GRADES, 2),
        ("there is no tumor", TUMOUR, 2), ("A tumor is seen", TUMOUR, 1),
        ("a", GRADES, None), ("E", GRADES, None), ("", GRADES, None), ("A or B", GRADES, None),
        ("A. B. C. D.", GRADES, None), ("B. grade 3", GRADES, None), ("grade 1 or grade 2", GRADES, None),
        ("this is not normal", TUMOUR, None), ("Because", GRADES, None), ("I don't know", GRADES, None),
        ("B12 deficiency", GRADES, None), ("cannot be normal", TUMOUR, None),
    ],
)  # fmt: skip
def test_rules(text, options, index):
    assert parse_choice(text, options) == index


def test_options_that_normalise_alike_never_decide():
    assert parse_choice("x ray", ["X-ray", "x ray"]) is None


@pytest.mark.parametrize("count", [0, 27])
def test_number_of_options_is_checked(count):
    with pytest.raises(ValueError, match=f"1 to 26 options, got {count}"):
        parse_choice("A", ["x"] * count)


@given(st.integers(2, 8), st.data())
def test_a_dump_of_all_letters_or_all_options_is_never_an_answer(count, data):
    options = [f"finding {i}" for i in range(count)]
    separator = data.draw(st.sampled_from([" ", ", ", ". ", "\n", "; "]))
    assert parse_choice(separator.join(options), options) is None
    assert parse_choice(separator.join(string.ascii_uppercase[:count]), options) is None


@given(st.text())
def test_normalise_is_idempotent_and_never_crashes(text):
    assert normalise(normalise(text)) == normalise(text)
    parse_choice(text, GRADES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the 2nd; Lobe", "2nd lobe"), ("1,000", "1,000"), ("3.", "3"), (".5", "5"), ("Crohn's", "crohns"),
        ("THE", "the"), ("<5%", "<5%"), ("5 - 10", "5 10"), ("ﬁbrosis", "fibrosis"), ("", ""),
    ],
)  # fmt: skip
def test_normalise(text, expected):
    assert normalise(text) == expected
