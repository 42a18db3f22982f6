from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from medgraph.config import MODELS, ConfigError, ExperimentConfig, LoraOptions, model_config, parse
from medgraph.data.collate import collate_conversations, collate_questions
from medgraph.data.loading import ConversationDataset
from medgraph.models import build
from medgraph.models.lora import add_lora, merge_lora
from medgraph.models.packing import can_pack
from medgraph.training.weights import trained_state

LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def adapt(vlm, filled=True, **options):
    """A copy of the model with adapters that change it."""
    torch.manual_seed(1)
    adapted = copy.deepcopy(vlm)
    add_lora(adapted, LoraOptions(**{"rank": 4, **options}))
    if filled:
        for name, parameter in adapted.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return adapted


@pytest.fixture
def batch(corpus, images, tokens):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    return collate_conversations([dataset[0, i] for i in range(3)], tokens, ("answer", "extended"), False)


def states(vlm, batch):
    """Hidden states of conversations and of texts alone."""
    return vlm.hidden_states(
        {
            "lm": (batch.lm, vlm.encode_images(batch.images)),
            **{name: (text, None) for name, text in batch.texts.items()},
        }
    )


def loss(vlm, batch):
    return vlm.lm_loss(states(vlm, batch)["lm"], batch.lm)


def test_the_weights_are_those_of_the_equations(vlm):
    x = torch.randn(5, vlm.width)
    for dora in (False, True):
        layer = adapt(vlm, rank=3, alpha=6, dora=dora).llm.model.layers[1].self_attn.q_proj
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        weight = layer.base_layer.weight + 6 / 3 * b @ a
        if dora:
            length = layer.lora_magnitude_vector["default"].weight
            weight = length[:, None] * weight / weight.norm(dim=1, keepdim=True)
            assert_close(length, layer.base_layer.weight.norm(dim=1))
        assert_close(layer(x), x @ weight.T)


@pytest.mark.parametrize("dora", [False, True])
def test_new_adapters_change_nothing(vlm, batch, dora):
    assert_close(loss(adapt(vlm, filled=False, dora=dora), batch), loss(vlm, batch))


def test_all_linear_layers_of_the_language_model_are_adapted_and_no_others(vlm):
    adapted = {name.partition(".lora_A")[0] for name, _ in adapt(vlm).named_parameters() if ".lora_A" in name}
    linear = {name for name, module in vlm.llm.model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert adapted == {f"llm.model.{name}" for name in linear}
    assert {name.rpartition(".")[2] for name in adapted} == LAYERS


def test_other_kinds_of_linear_layers(vlm):
    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50, bos_token_id=0, eos_token_id=0)
    vlm.llm = AutoModelForCausalLM.from_config(config)
    found = [name for name, _ in adapt(vlm).llm.transformer.h[0].named_parameters() if ".lora_A" in name]
    assert [name.partition(".lora_A")[0] for name in found] == ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]


def test_targets_and_parts(vlm):
    adapted = adapt(vlm, targets=["v_proj", "layers.0.mlp.up_proj"], parts=["llm", "vision"])
    names = {name.partition(".lora_A")[0] for name, _ in adapted.named_parameters() if ".lora_A" in name}
    assert {name for name in names if name.startswith("llm")} == {
        *(f"llm.model.layers.{i}.self_attn.v_proj" for i in range(3)), "llm.model.layers.0.mlp.up_proj"
    }  # fmt: skip
    assert all(name.startswith("vision") and name.endswith("v_proj") for name in names if "llm" not in name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"targets": ["q_proj", "query"]},
            "model.lora.targets=query: no linear layer of llm is called so; there are down",
        ),
        ({"targets": ["gate_proj"], "parts": ["llm", "vision"]}, "model.lora.parts=vision: it has none of"),
    ],
)
def test_layers_that_do_not_exist(vlm, options, message):
    with pytest.raises(ConfigError, match=message):
        adapt(vlm, **options)


def test_a_missing_peft_is_named(vlm, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"model.lora.rank=4: needs peft; pip install 'medgraph\[lora\]'"):
        adapt(vlm)


@pytest.mark.parametrize("parts", [["projector"], ["projector", "llm"], ["vision", "projector", "llm"]])
@pytest.mark.parametrize("adapted", [["llm"], ["vision"], ["vision", "llm"]])
def test_a_stage_trains_adapters_instead_of_the_part_and_all_of_them_get_gradients(vlm, batch, parts, adapted):
    vlm = adapt(vlm, dora=True, parts=adapted)
    vlm.set_trainable(parts)
    loss(vlm, batch).backward()
    trained = {name for name, parameter in vlm.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in vlm.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[0] for name in trained} == set(parts)
    assert all((".lora_" in name) == (name.split(".")[0] in adapted) for name in trained)


def test_dropout_is_for_training(vlm, batch):
    vlm = adapt(vlm, dropout=0.5)
    vlm.set_trainable(["llm"])
    assert loss(vlm, batch) != loss(vlm, batch)
    vlm.eval()
    assert loss(vlm, batch) == loss(vlm, batch)


@pytest.mark.parametrize("dora", [False, True])
def test_one_packed_pass_equals_padded_passes(vlm, batch, dora, monkeypatch):
    vlm = adapt(vlm, dora=dora)
    vlm.set_trainable(["llm"])
    found = []
    for packed in (True, False):
        monkeypatch.setattr("medgraph.models.medvlm.can_pack", can_pack if packed else lambda *_: False)
        vlm.zero_grad()
        hidden = states(vlm, batch)
        masks = {"lm": batch.lm.mask, **{name: text.mask for name, text in batch.texts.items()}}
        values = torch.cat([hidden[name][mask] for name, mask in masks.items()])
        (values * torch.randn(values.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        found.append([values.detach(), *(p.grad for p in vlm.parameters() if p.requires_grad)])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * max(theirs.abs().max(), 1)


@pytest.mark.parametrize("dora", [False, True])
def test_merged_models_are_plain_and_equal(vlm, batch, corpus, images, tokens, dora):
    adapted = adapt(vlm, dora=dora, parts=["llm", "vision"])
    with torch.no_grad():
        before = states(adapted, batch)
        questions = collate_questions([(images(r.image), r) for r in corpus.splits["test"][:3]], tokens)
        answers = adapted.generate(questions, 4)
        assert merge_lora(adapted) < 1e-5
        after = states(adapted, batch)
    assert_close(after["lm"][batch.lm.mask], before["lm"][batch.lm.mask], atol=1e-4, rtol=1e-4)
    assert adapted.generate(questions, 4) == answers
    assert adapted.state_dict().keys() == vlm.state_dict().keys()
    assert not torch.allclose(states(vlm, batch)["lm"][batch.lm.mask], after["lm"][batch.lm.mask], atol=1e-2)
    assert merge_lora(adapted) == 0
    assert adapt(adapted).llm.peft_config  # may be adapted again


def test_merging_into_coarse_weights_is_refused(vlm):
    vlm = adapt(vlm)
    vlm.llm.bfloat16()
    with pytest.raises(ValueError, match=r"merging the adapters changes a logit by .* the weights are too coarse"):
        merge_lora(vlm)


def test_adapters_and_projector_are_all_that_is_saved(vlm, tmp_path):
    config = LlamaConfig(
        hidden_size=256, intermediate_size=688, num_hidden_layers=2, num_attention_heads=4, vocab_size=2000
    )
    vlm.llm, vlm.projector = AutoModelForCausalLM.from_config(config), torch.nn.Linear(96, 256)
    sizes = {}
    for rank in (0, 1):
        adapted = adapt(vlm, rank=rank)
        save_file(trained_state(adapted, ["projector", "llm"]), tmp_path / "weights.safetensors")
        sizes[rank] = (tmp_path / "weights.safetensors").stat().st_size
    print(f"checkpoint: {sizes[0] / 1e6:.2f} MB without, {sizes[1] / 1e3:.0f} kB with adapters of rank 1")
    assert sizes[1] < sizes[0] / 50


def test_options_by_name(vlm):
    config = parse(ExperimentConfig(), ["model.lora.rank=8", "model.lora.targets=[q_proj]", "model.lora.dora=true"])
    assert config.model.lora == LoraOptions(rank=8, targets=["q_proj"], dora=True)
    assert parse(ExperimentConfig(), ["model=tiny"]).model.lora.rank == MODELS["tiny"].lora.rank == 0
    assert any(".lora_A" in name for name, _ in build.build_model(config.model, ["a text"]).named_parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.lora.rank=-1"], "model.lora.rank=-1: expected 0 or more"),
        (["model.lora.alpha=0"], "model.lora.alpha=0: expected at least 1"),
        (["model.lora.dropout=1"], "model.lora.dropout=1.0: expected a share"),
        (["model.lora.parts=[projector]"], r"model.lora.parts=\['projector'\]: expected one or both of vision, llm"),
        (["model.lora.parts=[]"], r"model.lora.parts=\[\]: expected one or both of vision, llm"),
        (["model.quantize=4bit"], "model.quantize=4bit: such weights are not trained, adapters are; add model.lora"),
        (["model.quantize=4bit", "model.lora.rank=8"], "model.quantize=4bit is for a pretrained model.llm"),
    ],
)
def test_options_that_make_no_sense(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parse(ExperimentConfig(), arguments)


def test_four_bits_need_cuda_and_bitsandbytes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"model.quantize=4bit: needs a CUDA device and bitsandbytes; pip install"):
        build.four_bits()
    assert model_config("llava-med-7b", quantize="4bit").quantize == "4bit"
