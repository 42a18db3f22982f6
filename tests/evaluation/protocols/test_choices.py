import pytest

from medgraph.evaluation.protocols import score_protocol

OPTIONS = ("cyst", "mass", "normal")


def value(prediction, protocol, figure="choice_accuracy"):
    return score_protocol([prediction], protocol, resamples=0).get(figure).value / 100


def test_likelihood_needs_no_answer_and_takes_letters_or_whole_texts(make_prediction):
    shared = {"answer_type": "choice", "options": OPTIONS, "answer": "mass", "prediction": "no idea"}
    p = make_prediction("1", **shared, logprobs=(-1.0, -0.5, -3.0), text_logprobs=(-4.0, -9.0, -9.5))
    assert value(p, "strict") == 0
    assert value(p, "likelihood") == value(p, "likelihood", "total_accuracy") == 1
    assert value(p, "likelihood_text") == 0


def test_closed_questions_rank_yes_and_no(make_prediction):
    yes = make_prediction("1", answer_type="closed", answer="Yes", prediction="", logprobs=(-0.1, -2.0))
    no = make_prediction("2", answer_type="closed", answer="no", prediction="", logprobs=(-0.1, -2.0))
    assert (value(yes, "likelihood", "closed_accuracy"), value(no, "likelihood", "closed_accuracy")) == (1, 0)
    side = make_prediction("3", answer_type="closed", answer="left", prediction="left", logprobs=(-0.1, -2.0))
    assert not score_protocol([side], "likelihood", resamples=0).figures, "neither yes nor no is true"


@pytest.mark.parametrize(("said", "right"), [("B", 1), ("B. mass", 1), ("(B)", 1), ("mass", 0), ("Both", 0), ("b", 0)])
def test_medmat_wants_the_letter_first(make_prediction, said, right):
    p = make_prediction("1", answer_type="choice", options=OPTIONS, answer="mass", prediction=said)
    assert value(p, "medmat") == right
