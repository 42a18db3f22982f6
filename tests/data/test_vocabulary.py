import pytest

from medgraph.data.vocabulary import Vocabulary, parse_triplet, task_category


def test_vocabularies_are_open_but_not_ambiguous():
    words = Vocabulary("organ", {"Heart": ("heart muscle",)})
    words.register("Spleen", "lien")
    assert words.canonical("LIEN") == "Spleen"
    assert words.adopt("Pancreas ") == "Pancreas"
    with pytest.raises(ValueError, match="'lien' already means 'Spleen'"):
        words.register("Heart", "lien")
    with pytest.raises(ValueError, match=r"unknown organ 'Hart'; known: Heart"):
        words.canonical("Hart")


def test_triplets_in_any_spelling():
    assert str(parse_triplet("Ultrasound, breast, cancer diagnosis")) == "US/Breast/cancer"
    with pytest.raises(ValueError, match="unknown area 'Lnug'; known: Lung"):
        parse_triplet("CT/Lnug/cancer")


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Pneumonia Cause Recognition", "recognition"),
        ("Tissue Density Level", "level"),
        ("Dementia Level Identification", "level"),
        ("COVID-19 and Pneumonia Classification", "covid"),
        ("Lung Cancer Classification", "cancer"),
        ("Retinal Images Quality Evaluation", "quality"),
        ("level", "level"),
    ],
)
def test_task_names_tell_the_category(name, category):
    assert task_category(name) == category


def test_a_task_name_that_tells_nothing_says_what_to_write():
    with pytest.raises(ValueError, match=r"names no known category; write one of quality, covid"):
        task_category("Stuff")
