from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    HyperCLOVAXConfig,
    LlamaConfig,
    MiniCPM3Config,
)

from medgraph.config import ConfigError
from medgraph.models.loss import LogitRule, check_kernel, chunked_cross_entropy, head_loss

PLAIN = LogitRule()
RULES = {"plain": PLAIN, "factor": LogitRule(0.3), "cap": LogitRule(cap=2.0), "both": LogitRule(1.7, 1.5)}
N, D, V = 13, 6, 17


def inputs(dtype=torch.float64):
    """Hidden states, weight, bias and labels of a small head."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()
        for shape in ((N, D), (V, D), (V,))
    )
    return hidden, weight, bias, torch.randint(V, (N,), generator=generator)


def plain_loss(hidden, weight, bias, labels, rule):
    return F.cross_entropy(rule(F.linear(hidden, weight, bias)), labels)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_loss_and_gradients_are_those_of_all_logits_at_once(rule, chunk):
    hidden, weight, bias, labels = inputs()
    for shift in (None, bias):
        given = [hidden, weight] if shift is None else [hidden, weight, bias]
        ours = chunked_cross_entropy(hidden, weight, shift, labels, rule, chunk * V)
        theirs = plain_loss(hidden, weight, shift, labels, rule)
        torch.testing.assert_close(ours, theirs)
        for a, b in zip(torch.autograd.grad(3 * ours, given), torch.autograd.grad(3 * theirs, given), strict=True):
            torch.testing.assert_close(a, b)


def test_gradients_are_right_to_first_order():
    hidden, weight, bias, labels = inputs()
    assert torch.autograd.gradcheck(
        lambda *given: chunked_cross_entropy(*given, labels, RULES["both"], 5 * V), (hidden, weight, bias)
    )


def test_float32_is_accurate_to_a_millionth():
    hidden, weight, _, labels = inputs(torch.float32)
    given = [hidden, weight]
    ours = chunked_cross_entropy(*given, None, labels, PLAIN, 4 * V)
    theirs = plain_loss(hidden.double(), weight.double(), None, labels, PLAIN)
    gradients = (torch.autograd.grad(loss, given) for loss in (ours, theirs))
    for a, b in zip((ours, *next(gradients)), (theirs, *next(gradients)), strict=True):
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()


def test_huge_logits_do_not_overflow():
    hidden, weight, _, labels = inputs(torch.float32)
    loss = chunked_cross_entropy(1e4 * hidden, weight, None, labels, PLAIN)
    torch.testing.assert_close(loss, plain_loss(1e4 * hidden, weight, None, labels, PLAIN))
    assert torch.autograd.grad(loss, weight)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_what_the_module_gives_under_autocast(dtype):
    hidden, weight, bias, labels = inputs(torch.float32)
    given = [hidden, weight, bias]
    with torch.autocast("cpu", dtype):
        ours = chunked_cross_entropy(*given, labels, PLAIN, 5 * V)
        theirs = plain_loss(*given, labels, PLAIN)
    exact = plain_loss(*given, labels, PLAIN)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs)
    assert ours != exact  # products are in the lower precision
    for a, b in zip(torch.autograd.grad(ours, given), torch.autograd.grad(exact, given), strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().max() <= 0.02 * b.abs().max()


def test_loss_scaling_keeps_gradients_of_half_precision_above_zero():
    hidden, weight, _, labels = inputs(torch.float32)
    with torch.autocast("cpu", torch.float16):
        loss = chunked_cross_entropy(hidden, weight, None, labels, PLAIN)
    small, large = (torch.autograd.grad(scale * loss, weight, retain_graph=True)[0] for scale in (1.0, 65536.0))
    torch.testing.assert_close(large / 65536, small)


def test_bfloat16_weights_get_bfloat16_gradients_summed_in_float32():
    hidden, weight, _, labels = inputs(torch.bfloat16)
    loss = chunked_cross_entropy(hidden, weight, None, labels, PLAIN, V)  # a token at a time
    exact = [x.double().detach().requires_grad_() for x in (hidden, weight)]
    theirs = torch.autograd.grad(plain_loss(*exact, None, labels, PLAIN), exact)
    for a, b in zip(torch.autograd.grad(loss, [hidden, weight]), theirs, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a - b).abs().max() <= 0.01 * b.abs().max()


@pytest.mark.parametrize("trained", [(True, False), (False, True), (False, False)])
def test_only_wanted_gradients_are_made(trained):
    hidden, weight, _, labels = inputs()
    for x, train in zip((hidden, weight), trained, strict=True):
        x.requires_grad_(train)
    loss = chunked_cross_entropy(hidden, weight, None, labels, PLAIN)
    assert loss.requires_grad == any(trained)
    if any(trained):
        kept = [tensor for tensor in loss.grad_fn.next_functions[0][0].saved_tensors if tensor is not None]
        assert [tensor.shape for tensor in kept] == [x.shape for x in (hidden, weight) if x.requires_grad]
        loss.backward()
    assert (hidden.grad is not None, weight.grad is not None) == trained


def test_without_gradients_nothing_is_kept():
    hidden, weight, _, labels = inputs()
    with torch.no_grad():
        loss = chunked_cross_entropy(hidden, weight, None, labels, PLAIN)
    torch.testing.assert_close(loss, plain_loss(hidden, weight, None, labels, PLAIN).detach())


def test_a_tied_table_gets_the_gradients_of_both_its_uses_and_accumulates():
    _, weight, _, labels = inputs()
    table, ids = nn.Parameter(weight.detach()), torch.arange(N) % V
    for _ in range(2):
        chunked_cross_entropy(F.embedding(ids, table).tanh(), table, None, labels, PLAIN, 2 * V).backward()
    twice = torch.autograd.grad(2 * plain_loss(F.embedding(ids, table).tanh(), table, None, labels, PLAIN), table)[0]
    torch.testing.assert_close(table.grad, twice)


def test_logits_are_held_for_one_chunk_only():
    tokens, words = 64, 4096
    hidden, weight = torch.randn(tokens, 8, requires_grad=True), torch.randn(words, 8, requires_grad=True)
    labels = torch.randint(words, (tokens,))

    def largest(loss):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            loss().backward()
        return max(event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]")

    assert largest(lambda: plain_loss(hidden, weight, None, labels, PLAIN)) >= 4 * tokens * words
    assert largest(lambda: chunked_cross_entropy(hidden, weight, None, labels, PLAIN, 4 * words)) <= 4 * 8 * words


SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 40,
         "pad_token_id": 0}  # fmt: skip
GROUPED = {**SMALL, "num_key_value_heads": 1}
FAMILIES = {
    "llama": (LlamaConfig(**SMALL), PLAIN),
    "cohere": (CohereConfig(**SMALL, logit_scale=0.3), LogitRule(0.3)),
    "cohere2": (Cohere2Config(**GROUPED, logit_scale=0.3), LogitRule(0.3)),
    "gemma2": (Gemma2Config(**GROUPED, head_dim=8, final_logit_softcapping=0.5), LogitRule(cap=0.5)),
    "granite": (GraniteConfig(**SMALL, logits_scaling=8.0), LogitRule(1 / 8)),
    "hyperclovax": (HyperCLOVAXConfig(**SMALL, logits_scaling=0.25), LogitRule(0.25)),
    "minicpm3": (
        MiniCPM3Config(**SMALL, num_key_value_heads=2, dim_model_base=8, q_lora_rank=8, kv_lora_rank=8,
                       qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=8),
        LogitRule(0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("config", "rule"), FAMILIES.values(), ids=FAMILIES)
def test_the_loss_is_that_of_the_model_itself(config, rule):
    torch.manual_seed(0)
    llm = AutoModelForCausalLM.from_config(config).eval()
    nn.init.normal_(llm.get_output_embeddings().weight)  # large logits, so that a forgotten rule shows
    ids = torch.randint(1, 40, (2, 7))
    theirs = llm(input_ids=ids, labels=ids).loss
    hidden = llm.get_decoder()(input_ids=ids).last_hidden_state[:, :-1].flatten(0, 1)
    assert LogitRule.of(llm.config) == rule
    ours = head_loss(llm.get_output_embeddings(), hidden, ids[:, 1:].flatten(), rule, "chunked")
    assert abs(ours - theirs) <= 1e-6 * theirs


class Step(nn.Module):
    """A tied embedding and head in one module, as the root of a sharded model has them."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(V, D, dtype=torch.float64), nn.Linear(D, V, False, dtype=torch.float64)
        self.table.weight = self.head.weight = nn.Parameter(weight.detach().clone())

    def forward(self, labels):
        return head_loss(self.head, self.table(labels).tanh(), labels, PLAIN, "chunked")


def test_the_head_of_a_sharded_model_is_whole_inside_its_forward():
    _, weight, _, labels = inputs()
    alone, sharded = Step(weight), Step(weight)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    for step in (alone, sharded):
        for _ in range(2):
            step(labels).backward()
    assert isinstance(sharded.head.weight, DTensor)
    torch.testing.assert_close(sharded.head.weight.grad.full_tensor(), alone.head.weight.grad)


class Wrapped(nn.Module):
    """A linear head with a low-rank change, as LoRA wraps it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.change = base, nn.Parameter(torch.ones(V, 1, dtype=torch.float64))

    def forward(self, hidden):
        return self.base(hidden) + hidden.mean(-1, keepdim=True) @ self.change.t()


def test_a_head_that_is_no_plain_linear_layer_is_called_as_a_module():
    hidden, weight, bias, labels = inputs()
    head = nn.Linear(D, V, dtype=torch.float64)
    head.weight, head.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    wrapped = Wrapped(head)
    loss = head_loss(wrapped, hidden, labels, RULES["cap"], "chunked")
    torch.testing.assert_close(loss, F.cross_entropy(RULES["cap"](wrapped(hidden)), labels))
    assert torch.autograd.grad(loss, wrapped.change)[0].any()


def test_liger_gets_weight_states_labels_and_the_scaled_bias(monkeypatch):
    calls = []

    class Loss:
        def __init__(self, softcap):
            self.softcap = softcap

        def __call__(self, weight, hidden, labels, bias):
            calls.append(self.softcap)
            return F.cross_entropy(LogitRule(cap=self.softcap)(F.linear(hidden, weight, bias)), labels)

    liger = ModuleType("liger_kernel.transformers")
    liger.LigerFusedLinearCrossEntropyLoss = Loss
    monkeypatch.setitem(sys.modules, "liger_kernel", ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", liger)
    hidden, weight, bias, labels = inputs()
    head = nn.Linear(D, V, dtype=torch.float64)
    head.weight, head.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    ours = head_loss(head, hidden, labels, RULES["both"], "liger")
    torch.testing.assert_close(ours, head_loss(head, hidden, labels, RULES["both"], "chunked"))
    assert calls == [RULES["both"].cap]


def test_liger_needs_cuda_and_its_package(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"model\.loss=liger: needs a CUDA device"):
        check_kernel("liger")
    check_kernel("chunked")


def test_rules_of_whole_models_come_from_their_language_model():
    text = SimpleNamespace(model_type="gemma3_text", final_logit_softcapping=30.0)
    assert LogitRule.of(SimpleNamespace(get_text_config=lambda: text)) == LogitRule(cap=30.0)
