import dataclasses

import pytest

from medgraph.data.conversation import (
    IGNORE,
    IMAGE_MARK,
    encode_answers,
    encode_conversation,
    encode_prompt,
    prompt,
    reply,
)


@pytest.fixture
def records(corpus):
    first = corpus.splits["train"][0]
    return [record for record in corpus.splits["train"] if record.image_id == first.image_id]


def test_labels_are_exactly_the_answers(tokens, records):
    tokenizer = tokens.tokenizer
    encoded = encode_conversation(tokenizer, records, tokens.image_tokens, 512)
    supervised = [token for token in encoded.labels if token != IGNORE]
    assert tokenizer.decode(supervised) == "".join(f" {record.answer}{tokenizer.eos_token}" for record in records)
    assert all(label in (IGNORE, token) for token, label in zip(encoded.ids, encoded.labels, strict=True))
    assert encoded.ids.count(tokenizer.convert_tokens_to_ids(IMAGE_MARK)) == tokens.image_tokens


@pytest.mark.parametrize("answer", ["é", "x-ray, left (3 mm)", "no", "A" * 50, "今"])
def test_labels_survive_any_text(tokens, records, answer):
    record = dataclasses.replace(records[0], answer=answer, answer_type="open")
    encoded = encode_conversation(tokens.tokenizer, [record], 4, 512)
    supervised = [token for token in encoded.labels if token != IGNORE]
    assert tokens.tokenizer.decode(supervised) == f" {answer}{tokens.tokenizer.eos_token}"


def test_the_prompt_is_what_precedes_the_answer_in_training(tokens, records):
    encoded = encode_conversation(tokens.tokenizer, records[:1], tokens.image_tokens, 512)
    asked = encode_prompt(tokens.tokenizer, records[0], tokens.image_tokens)
    assert encoded.ids[: len(asked)] == asked
    assert encoded.labels[len(asked)] != IGNORE
    assert set(encoded.labels[: len(asked)]) == {IGNORE}


def test_without_an_image_the_prompt_has_no_image_token(tokens, records):
    image_id = tokens.tokenizer.convert_tokens_to_ids(IMAGE_MARK)
    assert image_id not in encode_prompt(tokens.tokenizer, records[0], 0)
    assert IMAGE_MARK not in prompt(records[0], image=False)


def test_choice_questions_answer_with_the_letter(records):
    record = dataclasses.replace(records[0], answer_type="choice", options=("a", "b", "c"), answer="c")
    assert reply(record) == "C"
    assert "B: b" in prompt(record)


def test_an_empty_answer_is_refused_by_name(tokens, records):
    record = dataclasses.replace(records[0], id="r-7", answer=" ", answer_type="open")
    with pytest.raises(ValueError, match=r"record r-7.*no supervised token"):
        encode_conversation(tokens.tokenizer, [record], 4, 512)


def test_a_question_with_an_image_mark_is_refused_by_name(tokens, records):
    record = dataclasses.replace(records[0], id="r-8", question=f"what is {IMAGE_MARK}?")
    with pytest.raises(ValueError, match=r"record r-8.*<image>"):
        encode_conversation(tokens.tokenizer, [record], 4, 512)


def test_a_sequence_that_is_too_long_is_refused_by_name(tokens, records):
    with pytest.raises(ValueError, match=rf"record {records[0].id}.*max_length=10"):
        encode_conversation(tokens.tokenizer, records, 4, 10)


def test_an_open_question_is_not_asked_behind_the_choice_question_it_would_copy(tokens, records):
    choice = dataclasses.replace(records[0], answer_type="choice", options=("lung", "brain"), answer="lung")
    same = dataclasses.replace(choice, id="other", answer_type="open", options=())
    assert answers(tokens, [choice, same]) == [" A"]
    assert answers(tokens, [same, choice]) == [" lung"]


def test_independent_questions_may_have_the_same_answer(tokens, records):
    pair = [dataclasses.replace(records[0], id=name, answer="yes", answer_type="closed") for name in "ab"]
    assert answers(tokens, pair) == [" yes", " yes"]


def test_turns_that_do_not_fit_are_left_out_whole(tokens, records):
    turns = [dataclasses.replace(records[0], id=f"{i}", answer=f"answer {i}", answer_type="open") for i in range(20)]
    whole = encode_conversation(tokens.tokenizer, turns, 4, 512)
    cut = encode_conversation(tokens.tokenizer, turns, 4, 100)
    assert 60 < len(cut.ids) <= 100 < len(whole.ids)
    assert cut.ids == whole.ids[: len(cut.ids)]
    kept = answers(tokens, turns, 100)
    assert kept == [f" answer {i}" for i in range(len(kept))]


def answers(tokens, records, max_length=512):
    """The supervised answers of a conversation."""
    tokenizer = tokens.tokenizer
    encoded = encode_conversation(tokenizer, records, 4, max_length)
    text = tokenizer.decode([label for label in encoded.labels if label != IGNORE])
    return text.split(tokenizer.eos_token)[:-1]


def test_node_texts_join_all_answers(tokens, records):
    ids = encode_answers(tokens.tokenizer, records, 512, extended=True)
    text = tokens.tokenizer.decode(ids, skip_special_tokens=True)
    assert text == ". ".join(record.extended for record in records)
