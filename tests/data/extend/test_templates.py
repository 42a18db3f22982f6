import pytest

from medgraph.data.extend.templates import CONTEXTS, PARAPHRASES, extend_answer
from medgraph.data.records import MATTriplet

TRIPLET = MATTriplet("US", "Breast", "cancer")


def test_a_paraphrase_adds_nothing_but_words():
    texts = {extend_answer("Benign", TRIPLET, "paraphrase", str(i), ("Benign", "Normal")) for i in range(200)}
    assert len(texts) == len(PARAPHRASES)
    assert all("Benign" in text and "ultrasound" not in text and "Normal" not in text for text in texts)


def test_context_adds_the_triplet_and_the_excluded_options():
    texts = {extend_answer("Benign", TRIPLET, "context", str(i), ("Benign", "Normal")) for i in range(200)}
    assert len(texts) == len(CONTEXTS)
    for text in texts:
        assert all(word in text for word in ("Benign", "ultrasound image", "breast", "cancer diagnosis", "not Normal"))
        assert " a ultrasound" not in text


def test_the_wording_depends_on_the_record_alone():
    assert extend_answer("x", TRIPLET, "context", "7") == extend_answer("x", TRIPLET, "context", "7")


def test_unknown_words_stand_for_themselves():
    assert "PET" in extend_answer("x", MATTriplet("PET", "Pancreas", "cancer"), "context", "1")


def test_unknown_mode():
    with pytest.raises(ValueError, match="extended='long': expected paraphrase or context"):
        extend_answer("x", TRIPLET, "long", "1")
