from dataclasses import replace

import pytest

from medgraph.report.confusion import LARGEST, OTHER, UNPARSED, confusions


@pytest.fixture(scope="module")
def question(predictions):
    return next(p for p in predictions if p.answer_type == "choice" and p.control == "none")


def ask(question, answers):
    """Questions with three options (truth, text): letters, texts and nonsense."""
    return [
        replace(question, id=str(i), options=("cyst", "mass", "none"), answer=truth, prediction=text, score=0.0)
        for i, (truth, text) in enumerate(answers)
    ]


def test_letters_and_texts_are_the_same_answer_and_nonsense_is_unparsed(question):
    answers = [("cyst", "A"), ("cyst", "It is a mass."), ("mass", "b"), ("mass", "?"), ("mass", "none"), ("cyst", "A")]
    (found,) = confusions(ask(question, answers))
    assert found.truths == ("cyst", "mass")
    assert found.said == ("cyst", "mass", OTHER, UNPARSED), "'none' is an option that is never the truth"
    assert found.counts == ((2, 1, 0, 0), (0, 1, 1, 1))
    assert found.n == 6


def test_counts_do_not_depend_on_the_order_of_options(question):
    first = ask(question, [("cyst", "A"), ("mass", "A")])
    turned = [replace(p, options=("mass", "cyst", "none"), prediction="B") for p in first]
    assert confusions(first) == confusions(turned)


def test_closed_questions_open_ones_and_controls(question):
    closed = [
        replace(question, id=str(i), answer_type="closed", options=(), answer=truth, prediction=text)
        for i, (truth, text) in enumerate([("yes", "Yes."), ("no", "yes"), ("no", "yes no"), ("left", "left")])
    ]
    (found,) = confusions([*closed, replace(closed[0], control="no_image"), replace(closed[0], answer_type="open")])
    assert (found.truths, found.said) == (("left", "no", "yes"), ("left", "no", "yes", UNPARSED))
    assert found.counts == ((1, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 0))
    assert confusions(closed[:1]) == [], "one truth cannot be confused"


def test_rare_answers_share_a_row_and_a_column(question):
    names = [f"finding {i:02d}" for i in range(LARGEST + 3)]
    many = [
        replace(question, id=f"{i}-{k}", options=(name, "nothing"), answer=name, prediction="A")
        for i, name in enumerate(names)
        for k in range(2 if i < LARGEST else 1)
    ]
    (found,) = confusions(many)
    assert found.truths == (*names[:LARGEST], OTHER)
    assert found.counts[-1][found.said.index(OTHER)] == 3
    assert found.n == len(many)
