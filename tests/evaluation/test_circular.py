import pytest

from medgraph.evaluation.choice import rotations
from medgraph.evaluation.circular import circular_results

OPTIONS = ("cyst", "mass", "normal")


@pytest.fixture
def orders(make_prediction):
    """A question in all its orders, answered by a function of the order; the second letter is always likeliest."""

    def make(id: str, truth: str, answer):
        asked = []
        for turn, options in enumerate(rotations(OPTIONS)):
            asked.append(
                make_prediction(
                    id, control=f"rotation_{turn}" if turn else "none", answer_type="choice", options=options,
                    answer=truth, prediction=answer(options), logprobs=(-2.0, -0.2, -3.0),
                )
            )  # fmt: skip
        return asked

    return make


def test_knowing_and_guessing_by_position_are_told_apart(orders):
    knows = orders("1", "mass", lambda options: "ABC"[options.index("mass")])
    guesses = orders("2", "mass", lambda options: "B")
    unclear = orders("3", "normal", lambda options: "who knows")
    questions = [knows, guesses, unclear]
    given, turned = [asked[0] for asked in questions], [p for asked in questions for p in asked[1:]]
    generated, ranked = circular_results(given, turned, resamples=50)
    assert (generated.answers, generated.n, generated.images) == ("generated", 3, 3)
    assert {name: figure.value for name, figure in generated.figures.items()} == pytest.approx(
        {"accuracy": 2 / 3, "circular": 1 / 3, "consistent": 1 / 3, "unparsed": 1 / 3}
    )
    assert ranked.answers == "likelihood"
    assert ranked.figures["accuracy"].value == pytest.approx(2 / 3)
    assert ranked.figures["circular"].value == ranked.figures["consistent"].value == 0


def test_questions_without_all_their_orders_do_not_count(orders, make_prediction):
    first, second, third = orders("1", "mass", lambda options: "A")
    assert circular_results([first], [second]) == ()
    assert circular_results([make_prediction("open"), first], [second, third], resamples=10)[0].n == 1
