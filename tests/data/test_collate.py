import torch

from medgraph.data.collate import collate_conversations, collate_questions, content_id, pad
from medgraph.data.conversation import IGNORE
from medgraph.data.loading import ConversationDataset


def test_padding_keeps_sequences_and_marks_them():
    ids, mask = pad([[5, 6, 7], [8]], 0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    left, mask = pad([[5, 6, 7], [8]], 0, left=True)
    assert left.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask[1].tolist() == [False, False, True]


def test_a_conversation_batch_has_what_a_step_needs(corpus, images, tokens):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    batch = collate_conversations([dataset[0, i] for i in range(3)], tokens, ("answer", "extended"), True)
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert len(set(batch.image_ids.tolist())) == 3
    assert set(batch.texts) == {"answer", "extended"}
    assert (batch.lm.labels == IGNORE).logical_or(batch.lm.labels == batch.lm.ids).all()
    assert (batch.lm_extended.labels != IGNORE).sum() > (batch.lm.labels != IGNORE).sum()
    assert [len(ids) for ids in batch.ids] == [3, 3, 3]
    bare = collate_conversations([dataset[0, 0]], tokens, (), False)
    assert bare.lm_extended is None
    assert bare.texts == {}


def test_equal_texts_have_equal_ids(corpus, images, tokens):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    sample = dataset[0, 0]
    batch = collate_conversations([sample, sample, dataset[0, 1]], tokens, ("extended",), False)
    first, second, third = batch.text_ids["extended"].tolist()
    assert first == second != third
    assert content_id("a") == content_id("a") != content_id("b")


def test_questions_are_padded_on_the_left(corpus, images, tokens):
    records = corpus.splits["test"][:4]
    batch = collate_questions([(images(record.image), record) for record in records], tokens)
    assert batch.prompts.mask[:, -1].all()
    assert batch.records == list(records)
    assert collate_questions([(None, record) for record in records], tokens).images is None
