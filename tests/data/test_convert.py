from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from medgraph.data.convert import NAMED, NEUTRAL, QuestionConverter
from medgraph.data.records import MATTriplet

TRIPLET = MATTriplet("X-ray", "Chest", "diseases")
LABELS = ["Atelectasis", "Edema", "Effusion", "Mass", "Nodule", "Normal"]


@pytest.mark.parametrize(("labels", "shown"), [(LABELS, 4), (LABELS[:3], 3), (LABELS[:2], 2)])
def test_few_labels_give_few_options(labels, shown):
    choice = QuestionConverter(labels, TRIPLET)("1", "Edema")
    assert len(choice.options) == len(set(choice.options)) == shown
    assert choice.answer == "Edema" in choice.options
    assert set(choice.options) <= set(labels)


def test_a_single_label_is_an_error():
    with pytest.raises(ValueError, match=r"1 label\(s\).*at least 2"):
        QuestionConverter(["Monkeypox", "monkeypox "], TRIPLET)
    with pytest.raises(ValueError, match="num_options=1"):
        QuestionConverter(LABELS, TRIPLET, num_options=1)


def test_questions_depend_on_the_record_alone():
    make = QuestionConverter(LABELS, TRIPLET)
    assert make("7", "Mass") == QuestionConverter(list(reversed(LABELS)), TRIPLET)("7", "Mass")
    assert len({make(str(i), "Mass") for i in range(200)}) > 50
    assert make("7", "Mass") != QuestionConverter(LABELS, TRIPLET, seed=1)("7", "Mass")


def test_letters_wordings_and_distractors_are_uniform():
    make = QuestionConverter(LABELS, TRIPLET)
    choices = [make(str(i), "Mass") for i in range(3000)]
    letters = Counter(choice.options.index("Mass") for choice in choices)
    wrong = Counter(option for choice in choices for option in choice.options if option != "Mass")
    wordings = Counter(choice.question for choice in choices)
    assert (len(letters), len(wrong), len(wordings)) == (4, 5, 6)
    for counts in (letters, wrong, wordings):
        assert chisquare(list(counts.values())).pvalue > 1e-4


def test_balanced_letters_are_exact_for_every_label():
    make = QuestionConverter(LABELS, TRIPLET)
    answers = {f"r{i}": LABELS[i % 6] for i in range(240)}
    choices = make.balanced(answers)
    table = np.zeros((6, 4), int)
    for name, choice in choices.items():
        table[LABELS.index(answers[name]), choice.options.index(choice.answer)] += 1
    assert (table == 10).all()
    assert choices == make.balanced(dict(reversed(answers.items())))


def test_multi_label_captions_have_no_permutation_subset_or_superset_as_distractor():
    captions = ["Edema, Mass", "Mass, Edema", "mass", "Edema, Mass, Nodule", "Nodule", "Normal", "Edema, Nodule"]
    make = QuestionConverter(captions, TRIPLET, multilabel=True)
    seen = {option for i in range(100) for option in make(str(i), "Edema, Mass").options}
    assert seen == {"Edema, Mass", "Nodule", "Normal", "Edema, Nodule"}


def test_too_few_multi_label_distractors_give_fewer_options():
    make = QuestionConverter(["a, b", "a", "c"], TRIPLET, multilabel=True)
    assert set(make("1", "a, b").options) == {"a, b", "c"}
    with pytest.raises(ValueError, match=r"record 1: no label .* is wrong when 'a, b' is right"):
        QuestionConverter(["a, b", "a", "b"], TRIPLET, multilabel=True)("1", "a, b")


def test_near_distractors_are_the_neighbours():
    grades = [f"grade {i}" for i in range(6)]
    make = QuestionConverter(grades, TRIPLET, num_options=3, distractors="near")
    assert all(set(make(str(i), "grade 2").options) == {"grade 1", "grade 2", "grade 3"} for i in range(20))


def test_neutral_wordings_name_no_element():
    for i in range(30):
        text = QuestionConverter(LABELS, TRIPLET, templates=NEUTRAL)(str(i), "Mass").question.lower()
        assert "x-ray" not in text
        assert "chest" not in text
    assert all("{modality}" in text and "{area}" in text for text in NAMED)
    assert len(NAMED) == len(NEUTRAL) == 6


def test_a_fixed_wording():
    make = QuestionConverter(LABELS, TRIPLET)
    assert {make(str(i), "Mass", template=3).question for i in range(20)} == {
        "Assess this X-ray image of the chest: which label applies?"
    }
