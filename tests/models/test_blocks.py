import copy

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from medgraph.config import ConfigError
from medgraph.data.layout import Layout
from medgraph.models.blocks import prepare_blocks, transformer_blocks
from medgraph.models.packing import packed_hidden_states

MODES = ("none", "selective", "full")
MASKS = [torch.arange(max(row)) < torch.tensor(row).unsqueeze(1) for row in ([40, 9, 61], [1, 13])]


def language_model(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, vocab_size=64,
        attention_dropout=dropout,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture(scope="module")
def embeds():
    torch.manual_seed(1)
    return [torch.randn(*mask.shape, 32, requires_grad=True) for mask in MASKS]


def packed_loss(llm, embeds):
    return sum(
        hidden.square().sum() for hidden in packed_hidden_states(llm.get_decoder(), embeds, list(map(Layout.of, MASKS)))
    )


def gradients(llm, embeds, loss=packed_loss):
    torch.manual_seed(2)
    return torch.autograd.grad(loss(llm, embeds), [*embeds, *llm.get_decoder().layers.parameters()])


def kept_bytes(call):
    """What is still allocated after a call for the sake of its backward."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    del result
    return sum(e.nbytes() for e in profile.profiler.kineto_results.events() if e.name() == "[memory]")


@pytest.mark.parametrize("mode", ["selective", "full"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_of_a_packed_pass_are_the_same_dropout_included(embeds, mode, dropout):
    llm = language_model(dropout).train()
    expected = gradients(llm, embeds)
    prepare_blocks(llm, mode)
    for ours, theirs in zip(gradients(llm, embeds), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["selective", "full"])
def test_gradients_of_padded_passes_in_bfloat16_are_the_same(embeds, mode):
    def loss(llm, embeds):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # as Lightning does
            hidden = llm.get_decoder()(inputs_embeds=embeds[0], attention_mask=MASKS[0].long(), use_cache=False)
        return hidden.last_hidden_state.float().square().sum()

    llm = language_model().train()
    parameters = list(llm.get_decoder().layers.parameters())
    expected = torch.autograd.grad(loss(llm, embeds), parameters)
    prepare_blocks(llm, mode)
    for ours, theirs in zip(torch.autograd.grad(loss(llm, embeds), parameters), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("train", [True, False], ids=["trained", "frozen"])
def test_more_checkpointing_keeps_less(embeds, train):
    llm = language_model().train(train).requires_grad_(train)
    kept = []
    for mode in MODES:
        prepare_blocks(llm, mode)
        kept.append(kept_bytes(lambda: packed_loss(llm, embeds)))
    none, selective, full = kept
    assert selective < 0.75 * none
    assert full < 0.5 * selective


def test_the_whole_model_has_the_same_gradients_tower_included(vlm, corpus, images, tokens):
    from medgraph.data.collate import collate_conversations
    from medgraph.data.loading import ConversationDataset

    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    batch = collate_conversations([dataset[0, i] for i in range(3)], tokens, ("answer",), False)
    vlm.set_trainable(["vision", "projector", "llm"])
    assert len(transformer_blocks(vlm)) == 4 + 3
    results = []
    for mode in MODES:
        prepare_blocks(vlm, mode)
        vlm.zero_grad()
        image_tokens = vlm.encode_images(batch.images)
        hidden = vlm.hidden_states({"lm": (batch.lm, image_tokens), "answer": (batch.texts["answer"], None)})
        nodes = vlm.text_nodes(hidden["answer"], batch.texts["answer"].mask, batch.text_ids["answer"]).pooled
        (vlm.lm_loss(hidden["lm"], batch.lm) + nodes.square().mean()).backward()
        results.append([p.grad for p in vlm.parameters() if p.requires_grad])
    for mode in results[1:]:
        assert all(map(torch.equal, mode, results[0]))


def test_a_checkpointed_model_can_be_copied_and_asked(embeds):
    llm = language_model().eval()
    ids = torch.arange(6).unsqueeze(0)
    expected = llm.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
    prepare_blocks(llm, "full")
    twin = copy.deepcopy(llm)
    twin.get_decoder().layers[0].mlp.down_proj.weight.data.zero_()
    assert torch.equal(llm.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0), expected)
    assert not torch.equal(gradients(twin, embeds)[0], gradients(llm, embeds)[0])


def test_a_model_without_blocks_is_refused():
    with pytest.raises(
        ConfigError, match=r"trainer.checkpointing=full .*Linear has no Hugging Face transformer blocks"
    ):
        prepare_blocks(nn.Linear(2, 2), "full")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks at everything
def test_compiled_blocks_have_the_same_gradients_and_are_compiled_once(embeds):
    from torch._dynamo.utils import counters

    llm = language_model().train()
    expected = gradients(llm, embeds)
    prepare_blocks(llm, "full", compiled=True, backend="eager")
    for ours, theirs in zip(gradients(llm, embeds), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    graphs = counters["stats"]["unique_graphs"]
    masks = [torch.arange(max(row)) < torch.tensor(row).unsqueeze(1) for row in ([7, 20], [3, 3, 5])]
    others = [torch.randn(*mask.shape, 32, requires_grad=True) for mask in masks]
    sum(
        hidden.sum() for hidden in packed_hidden_states(llm.get_decoder(), others, list(map(Layout.of, masks)))
    ).backward()
    llm.generate(torch.arange(6).unsqueeze(0), max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert counters["stats"]["unique_graphs"] == graphs > 0
