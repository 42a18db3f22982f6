import numpy as np
import pytest

from medgraph.evaluation.simulated import SimulatedTest


def accuracy(answers, kind=None):
    return float(np.mean([p.score for p in answers if kind in (None, p.question_type)]))


def test_accuracy_is_what_is_known_and_what_is_guessed():
    answers = SimulatedTest(images=1500, spread=0.0).answers(knows=0.6)
    for kind, chance in (("presence", 1 / 2), ("side", 1 / 3), ("finding", 1 / 4)):
        assert accuracy(answers, kind) == pytest.approx(0.6 + 0.4 * chance, abs=0.03)


def test_models_are_asked_the_same_and_know_the_same_images():
    test = SimulatedTest(images=300, spread=3.0)
    first, second = test.answers(seed=0), test.answers(seed=1)
    assert [(p.id, p.answer) for p in first] == [(p.id, p.answer) for p in second]
    assert first == test.answers(seed=0)
    by_image = [np.reshape([p.score for p in answers], (-1, 3)).mean(1) for answers in (first, second)]
    assert np.corrcoef(by_image)[0, 1] > 0.4
    easy = SimulatedTest(images=300, spread=0.0)
    by_image = [np.reshape([p.score for p in easy.answers(seed=seed)], (-1, 3)).mean(1) for seed in (0, 1)]
    assert abs(np.corrcoef(by_image)[0, 1]) < 0.2


def test_saying_yes_pays_where_yes_is_frequent_and_sentences_cost_points():
    test = SimulatedTest(images=500, yes_share=0.8, spread=0.0)
    assert accuracy(test.answers(knows=0.01, says_yes=1.0), "presence") == pytest.approx(0.8, abs=0.05)
    wordy = test.answers(wordy=1.0)
    assert accuracy(wordy, "presence") == accuracy(wordy, "side") == 0
    assert accuracy(wordy, "finding") == accuracy(test.answers(), "finding")  # an option is found in a sentence


@pytest.mark.parametrize("options", [{"knows": 1.0}, {"says_yes": 1.2}, {"wordy": -0.1}])
def test_shares_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}="):
        SimulatedTest(images=1).answers(**options)
