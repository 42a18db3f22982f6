from __future__ import annotations

import dataclasses

import pytest
import torch

from medgraph.config import ConfigError
from medgraph.contrast.data import PairDataModule, collate_pairs, pairs_in, sentences_of, tokenize
from medgraph.contrast.encoder import batch_nodes, build_encoder, encode_words
from medgraph.data.records import Corpus


def test_an_image_is_one_pair_with_the_chosen_text_of_all_its_records(corpus):
    records = corpus.splits["test"]
    pairs = pairs_in(corpus, ["test"], "answer")
    assert [pair.record.image_id for pair in pairs] == list(dict.fromkeys(record.image_id for record in records))
    mine = [record for record in records if record.image_id == pairs[0].record.image_id]
    assert pairs[0].text.split(" ") == list(dict.fromkeys(word for r in mine for word in r.answer.split(" ")))
    asked = pairs_in(corpus, ["test"], "question_answer")[0]
    assert asked.texts == tuple(f"{record.question} {record.answer}" for record in mine)


def test_only_training_images_are_trained_on(corpus, encoder):
    data = PairDataModule(corpus, encoder, "extended", 4, seed=0)
    seen = {pair.record.image_id for pair in data.dataset.pairs}
    assert seen == {record.image_id for name in ("train", "task") for record in corpus.splits[name]}
    assert not seen & {record.image_id for name in ("val", "test", "ood") for record in corpus.splits[name]}


def test_records_without_a_text_give_no_pair(corpus):
    blank = [dataclasses.replace(record, extended=" ") for record in corpus.splits["train"]]
    mixed = Corpus({"train": [*blank, corpus.splits["test"][0]]}, corpus.load_image)
    assert len(pairs_in(mixed, ["train"], "extended")) == 1
    with pytest.raises(ConfigError, match=r"text=extended: none of the \d+ records of train has one"):
        pairs_in(Corpus({"train": blank}, corpus.load_image), ["train"], "extended")


def test_texts_and_images_are_a_function_of_seed_epoch_and_position(corpus, encoder):
    whole = PairDataModule(corpus, encoder, "extended", 4, seed=0).dataset
    assert whole[0, 3][1] == whole[7, 3][1] == whole.pairs[3].text
    one, again, other = (
        PairDataModule(corpus, encoder, "extended", 4, seed, ["shift"], sentences=True).dataset for seed in (0, 0, 1)
    )
    drawn = [one[epoch, 3][1] for epoch in range(20)]
    assert drawn == [again[epoch, 3][1] for epoch in range(20)] != [other[epoch, 3][1] for epoch in range(20)]
    assert set(drawn) == {sentence for text in one.pairs[3].texts for sentence in sentences_of(text)}
    assert (one[0, 3][0] == again[0, 3][0]).all()
    assert (one[0, 3][0] != one[1, 3][0]).any()


def test_a_batch_knows_its_words_and_what_is_the_same(corpus, encoder):
    data = PairDataModule(corpus, encoder, "extended", 4, seed=0)
    image, text, record = data.dataset[0, 0]
    batch = collate_pairs([(image, text, record), (image, "the lungs", record)], encoder)
    assert batch.words[1].sum() == 2
    assert batch.image_ids[0] == batch.image_ids[1]
    assert batch.text_ids[0] != batch.text_ids[1]
    assert batch.tokens[1, 0] == encoder.tokenizer.bos_token_id
    assert batch.tokens[1, 3] == encoder.tokenizer.eos_token_id


def test_a_long_text_is_cut_and_keeps_its_end(encoder):
    tokens, words = tokenize(encoder, ["the lungs " * 100, "ct"])
    assert tokens.shape == (2, encoder.max_tokens)
    assert tokens[0, -1] == encoder.tokenizer.eos_token_id
    assert words.sum(1).tolist() == [encoder.max_tokens - 2, 1]


def test_texts_are_where_the_encoder_puts_them_whatever_they_are_padded_with(encoder):
    texts = ["the ct image of the lungs", "a mass"]
    pooled, words = encode_words(encoder, tokenize(encoder, texts)[0])
    torch.testing.assert_close(pooled, encoder.encode_texts(texts))
    torch.testing.assert_close(pooled[1:], encoder.encode_texts(texts[1:]))
    torch.testing.assert_close(words[1, 3], pooled[1])  # the end of the text is what CLIP pools


def test_everything_but_the_scale_receives_a_gradient(corpus, encoder):
    data = PairDataModule(corpus, encoder, "extended", 4, seed=0)
    batch = next(iter(data.train_dataloader()))
    seen = batch_nodes(encoder, batch)
    (seen.image.pooled.T @ seen.texts["text"].pooled).square().sum().backward()
    missing = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
    assert missing == {"model.logit_scale"}


def test_a_siglip_is_trained_too(corpus, tmp_path):
    from transformers import SiglipConfig, SiglipModel

    from medgraph.contrast.encoder import shared_width
    from medgraph.prompting.tiny_clip import word_tokenizer

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = word_tokenizer(["the ct image of the lungs"])
    text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 8, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16})
    SiglipModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    siglip = build_encoder(str(tmp_path), True, ())
    tokens, words = tokenize(siglip, ["the lungs", "ct"])
    assert tokens.shape == (2, 8)
    assert words.sum(1).tolist() == [2, 1]
    pooled, _ = encode_words(siglip, tokens)
    assert pooled.shape == (2, shared_width(siglip))
    torch.testing.assert_close(pooled, siglip.encode_texts(["the lungs", "ct"]))


def test_an_encoder_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"encoder=.*: not a local folder with a model"):
        build_encoder(str(tmp_path / "nothing"), False, ())
