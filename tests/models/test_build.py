import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from medgraph.config import ModelConfig, model_config
from medgraph.data.collate import Tokens, collate_conversations, collate_questions
from medgraph.data.loading import ConversationDataset, ImageCache
from medgraph.models.build import assets, build_model, fertility, move_embeddings, tiny_llm
from medgraph.models.tokenizer import count_words, load_packaged_tokenizer, load_tokenizer, train_tokenizer


def test_a_trained_tokenizer_encodes_any_text():
    tokenizer = train_tokenizer(["USER: hello"], vocab_size=300)
    for text in ("x-ray 3 mm", "été 今", "  two  blanks\n"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    with pytest.raises(ValueError, match="at least 260"):
        train_tokenizer(["a"], vocab_size=100)


def test_the_packaged_preset_is_small_and_loads(corpus):
    assert sum(file.stat().st_size for file in assets().iterdir()) < 3e6
    from medgraph.training.prepare import corpus_texts

    torch.manual_seed(0)
    vlm, again = (build_model(model_config("tiny"), corpus_texts(corpus)) for _ in range(2))
    same = ["vision", "llm"]
    for (name, a), (_, b) in zip(vlm.named_parameters(), again.named_parameters(), strict=True):
        if name.split(".")[0] in same:
            assert torch.equal(a, b), name


def test_text_of_another_kind_gets_its_own_tokens_that_start_from_their_pieces():
    old = load_packaged_tokenizer(str(assets() / "tokenizer.json"))
    texts = ["Glioblastoma multiforme, Kellgren-Lawrence grade"] * 3
    assert fertility(old, texts) > 2
    new = train_tokenizer(texts)
    llm = tiny_llm(len(old))
    rows = llm.get_input_embeddings().weight.detach().clone()
    move_embeddings(llm, old, new)
    assert fertility(new, texts) < fertility(old, texts)
    token = new(" grade", add_special_tokens=False)["input_ids"][0]
    pieces = old(new.decode([token]), add_special_tokens=False)["input_ids"]
    torch.testing.assert_close(llm.get_input_embeddings().weight[token], rows[pieces].mean(0))
    assert llm.get_output_embeddings().weight is llm.get_input_embeddings().weight


def test_hugging_face_parts_load_by_path_and_train_and_answer(corpus, tmp_path):
    CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        )
    ).save_pretrained(tmp_path / "tower")
    tokenizer = train_tokenizer(record.question for record in corpus.splits["train"])
    tokenizer.save_pretrained(tmp_path / "llm")
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer) - 1,  # no row for <image>: real language models have none
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).save_pretrained(tmp_path / "llm")
    vlm = build_model(ModelConfig("mine", str(tmp_path / "tower"), str(tmp_path / "llm")), [])
    assert (vlm.width, vlm.vision.num_tokens, vlm.vision.image_size) == (48, 4, 32)
    tokens, images = Tokens(vlm.tokenizer, 4, 512), ImageCache(corpus, 32)
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    batch = collate_conversations([dataset[0, i] for i in range(2)], tokens, ("answer",), False)
    vlm.set_trainable(["projector", "llm"])
    hidden = vlm.hidden_states({"lm": (batch.lm, vlm.encode_images(batch.images))})
    vlm.lm_loss(hidden["lm"], batch.lm).backward()
    record = corpus.splits["test"][0]
    assert len(vlm.generate(collate_questions([(images(record.image), record)], tokens), 4)) == 1


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    tokenizer = train_tokenizer(["a"])
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no end-of-text token"):
        load_tokenizer(str(tmp_path))


def test_words_are_counted_in_the_training_texts():
    tokenizer = train_tokenizer(["lung lung heart", "heart"])
    counts = count_words(tokenizer, iter(["lung", "lung heart", ""]), size=len(tokenizer))
    lung = tokenizer("lung", add_special_tokens=False)["input_ids"]
    assert counts[lung].tolist() == [2] * len(lung)
    assert counts.sum() == sum(len(tokenizer(t, add_special_tokens=False)["input_ids"]) for t in ("lung", "lung heart"))
