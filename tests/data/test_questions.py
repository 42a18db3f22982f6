import pytest

from medgraph.data.questions import parse_choice, same


@pytest.mark.parametrize("mark", [":", ".", ")"])
def test_options_in_every_published_style(mark):
    text = f"A: a question\nA{mark} Cyst, simple\nB{mark}  Stone\nC{mark} 3\nAnswer with the option's letter."
    assert parse_choice(text) == ("Cyst, simple", "Stone", "3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("What?\nA: Cyst", "1 options"),
        ("What?", "0 options"),
        ("What?\nB: Cyst\nA: Stone", "lettered BA"),
        ("What?\nA: Cyst\nC: Stone", "lettered AC"),
        ("What?\nA: Cyst\nB: cyst ", "twice"),
    ],
)
def test_unreadable_options(text, message):
    with pytest.raises(ValueError, match=message):
        parse_choice(text)


def test_labels_are_compared_by_their_words():
    assert same("COVID-19 ") == same("covid-19")
    assert same("a b") != same("ab")
