"""Text nodes of all kinds against slow references."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from medgraph.alignment.head import AlignmentInput
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.config import ConfigError, ExperimentConfig, model_config, validate
from medgraph.data.collate import collate_conversations
from medgraph.data.conversation import IGNORE
from medgraph.data.loading import ConversationDataset
from medgraph.models.build import build_model
from medgraph.models.text_nodes import check_layers, read_batch

VIEWS = ("answer", "extended")


@pytest.fixture
def batch(corpus, images, tokens):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    return collate_conversations([dataset[0, i] for i in range(5)], tokens, VIEWS, False)


def read(vlm, batch, source, layers=None):
    """States of the conversations and nodes of the texts."""
    vlm.text_source, vlm.text_layers = source, layers
    image_tokens = vlm.encode_images(batch.images)
    hidden, nodes = read_batch(vlm, image_tokens, {"lm": batch.lm}, batch.texts, batch.text_ids)
    assert list(hidden) == ["lm"]
    return image_tokens, hidden["lm"], nodes


def alone(vlm, tokens, row, layers=3):
    """Mean final state of one text by itself, one layer after the other."""
    ids = tokens.ids[row][tokens.mask[row]].unsqueeze(0)
    decoder = vlm.llm.get_decoder()
    states = decoder.embed_tokens(ids)
    positions = torch.arange(ids.shape[1]).unsqueeze(0)
    angles = decoder.rotary_emb(states, positions)
    for layer in decoder.layers[:layers]:
        states = layer(states, position_embeddings=angles, position_ids=positions)
    return decoder.norm(states)[0].mean(0)


@pytest.mark.parametrize(("source", "layers", "passed"), [
    ("packed", None, 3), ("frozen", None, 3), ("truncated", 2, 2), ("truncated", None, 1), ("truncated", 3, 3),
])  # fmt: skip
def test_nodes_of_texts_alone(vlm, batch, source, layers, passed):
    _, _, nodes = read(vlm, batch, source, layers)
    for view in VIEWS:
        slow = torch.stack([alone(vlm, batch.texts[view], row, passed) for row in range(5)])
        torch.testing.assert_close(nodes[view].pooled, slow, rtol=1e-4, atol=1e-5)
        assert torch.equal(nodes[view].ids, batch.text_ids[view])
    assert len(vlm.llm.get_decoder().layers) == 3


def test_pooled_answers_are_means_over_the_answer_spans_of_the_conversations(vlm, batch):
    _, _, packed = read(vlm, batch, "packed")
    _, hidden, nodes = read(vlm, batch, "pooled")
    for row in range(5):
        span = [t for t in range(hidden.shape[1]) if batch.lm.labels[row, t] != IGNORE]
        slow = sum(hidden[row, t] for t in span) / len(span)
        torch.testing.assert_close(nodes["answer"].pooled[row], slow)
    torch.testing.assert_close(nodes["extended"].pooled, packed["extended"].pooled)


def test_pooled_answers_take_no_sequence_of_their_own_and_depend_on_the_image(vlm, batch, monkeypatch):
    seen = []
    run = vlm.hidden_states
    monkeypatch.setattr(vlm, "hidden_states", lambda passes: seen.append(set(passes)) or run(passes))
    _, _, nodes = read(vlm, batch, "pooled")
    assert seen == [{"lm", "extended"}]
    batch.images = 255 - batch.images
    _, _, others = read(vlm, batch, "pooled")
    assert not torch.allclose(nodes["answer"].pooled, others["answer"].pooled)
    assert torch.equal(nodes["extended"].pooled, others["extended"].pooled)


@pytest.mark.parametrize("source", ["packed", "pooled", "frozen", "truncated"])
def test_conversations_are_read_the_same_whatever_the_texts_are(vlm, batch, source):
    _, expected, _ = read(vlm, batch, "packed")
    torch.testing.assert_close(read(vlm, batch, source)[1], expected)


def alignment_gradients(vlm, batch, source):
    """Names of the parts of model and head that the alignment loss sends a gradient to."""
    vlm.set_trainable(["projector", "llm"])
    torch.manual_seed(0)
    head = ExGraHead(encoder="gcn", diagnostics=False)
    head.setup(vlm.width)
    image_tokens, _, nodes = read(vlm, batch, source)
    images = vlm.image_nodes(image_tokens, batch.image_ids)
    head(AlignmentInput(images, nodes, torch.Generator().manual_seed(0))).loss.backward()
    moved = {name for name, p in vlm.named_parameters() if p.grad is not None and p.grad.any()}
    return moved, any(p.grad is not None and p.grad.any() for p in head.parameters())


def test_frozen_texts_send_the_language_model_no_gradient(vlm, batch):
    moved, head = alignment_gradients(vlm, batch, "frozen")
    assert head
    assert {name.split(".")[0] for name in moved} == {"projector"}


def test_packed_texts_send_all_layers_a_gradient_and_truncated_ones_the_first(vlm, batch):
    def layers(names):
        return {int(name.split("layers.")[1].split(".")[0]) for name in names if "layers." in name}

    assert layers(alignment_gradients(vlm, batch, "packed")[0]) == {0, 1, 2}
    vlm.zero_grad(set_to_none=True)
    assert layers(alignment_gradients(vlm, batch, "truncated")[0]) == {0}


def test_layers_are_there_again_after_an_error(vlm, batch, monkeypatch):
    monkeypatch.setattr(vlm, "hidden_states", lambda passes: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read(vlm, batch, "truncated")
    assert len(vlm.llm.get_decoder().layers) == 3


def test_a_model_that_cannot_end_early_is_refused(vlm):
    check_layers(vlm.llm, 3)
    with pytest.raises(ConfigError, match=r"model\.text_layers=4: the language model has 3 layers"):
        check_layers(vlm.llm, 4)
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=16))
    with pytest.raises(ConfigError, match="GPT2LMHeadModel has no list of layers"):
        check_layers(other, None)


def test_a_built_model_has_the_configured_loss_and_text_nodes():
    config = model_config("tiny", text_nodes="truncated", text_layers=2)
    vlm = build_model(config, [])
    assert (vlm.text_source, vlm.text_layers, vlm.loss_kernel) == ("truncated", 2, "chunked")
    with pytest.raises(ConfigError, match=r"model\.text_layers=9"):
        build_model(dataclasses.replace(config, text_layers=9), [])


def test_layers_without_truncation_are_refused():
    with pytest.raises(ConfigError, match=r"model\.text_layers=2 has no effect with model\.text_nodes=packed"):
        validate(ExperimentConfig(model=model_config("tiny", text_layers=2)))
    with pytest.raises(ConfigError, match=r"model\.text_layers=0: expected at least 1"):
        validate(ExperimentConfig(model=model_config("tiny", text_nodes="truncated", text_layers=0)))
