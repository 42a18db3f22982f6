import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraph.evaluation.protocols.text import rouge, sentence_bleu

WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=8)


def test_bleu_by_hand():
    truth, said = ["the", "left", "upper", "lung"], ["the", "left", "lung"]
    brevity = math.exp(1 - 4 / 3)
    assert sentence_bleu(truth, said, (1,)) == pytest.approx(brevity)
    assert sentence_bleu(truth, said, (0.5, 0.5)) == pytest.approx(brevity * math.sqrt(1 / 2))
    assert sentence_bleu(truth, said, (1 / 3,) * 3) == pytest.approx(brevity * (1 / 2 * sys.float_info.min) ** (1 / 3))
    assert sentence_bleu(truth, ["the", "the"], (1,)) == pytest.approx(math.exp(1 - 4 / 2) / 2), "clipped"
    assert sentence_bleu(truth, [], (1,)) == sentence_bleu(truth, ["x"], (1,)) == 0


@given(WORDS)
def test_equal_sentences_are_perfect(words):
    assert sentence_bleu(words, words, (1.0,)) == pytest.approx(1)
    assert rouge(" ".join(words), " ".join(words))["rougel"] == pytest.approx(1, abs=1e-7)


def test_rouge_works_on_sets_and_sentences():
    scores = rouge("left lung. no mass", "lung lung mass")
    assert scores["rouge1"] == pytest.approx(2 * (1 * 0.5) / 1.5, abs=1e-7)
    assert scores["rouge2"] == 0
    assert scores["rougel"] == pytest.approx(2 * (1 * 0.5) / 1.5, abs=1e-7)
    assert rouge("a b c", "c b a")["rougel"] == pytest.approx(1 / 3, abs=1e-7)
    assert rouge("", "a") == rouge("a", "") == {"rouge1": 0, "rouge2": 0, "rougel": 0}


@given(WORDS, WORDS)
def test_rouge_l_of_words_without_repetition_is_the_longest_common_subsequence(first, second):
    first, second = (list(dict.fromkeys(words)) for words in (first, second))

    def slow(a: list[str], b: list[str]) -> int:
        if not a or not b:
            return 0
        return 1 + slow(a[1:], b[1:]) if a[0] == b[0] else max(slow(a[1:], b), slow(a, b[1:]))

    common = slow(first, second)
    precision, recall = common / len(second), common / len(first)
    expected = 2 * precision * recall / (precision + recall + 1e-8)
    assert rouge(" ".join(first), " ".join(second))["rougel"] == pytest.approx(expected)
