from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medgraph.config import ConfigError, ExperimentConfig, model_config, parse
from medgraph.data.collate import Tokens, collate_conversations, collate_questions
from medgraph.data.loading import ConversationDataset
from medgraph.models.build import build_model
from medgraph.models.projector import ResamplerLayer, build_projector

SETTINGS = {
    "linear": {"projector": "linear"},
    "mlp1x_gelu": {"projector": "mlp1x_gelu"},
    "mlp3x_gelu": {"projector": "mlp3x_gelu"},
    "resampler": {"projector": "resampler", "queries": 5},
    "sti": {"connector": "sti"},
    "sci": {"connector": "sci"},
    "dci": {"connector": "dci"},
    "pool": {"pool": 2},
    "everything": {"connector": "dci", "pool": 2, "projector": "resampler", "queries": 3, "vision_layer": -2},
}
TOKENS = {"resampler": 5, "sti": 20, "pool": 4, "everything": 3}


@pytest.mark.parametrize(
    ("kind", "linears"), [("linear", 1), ("mlp1x_gelu", 1), ("mlp2x_gelu", 2), ("mlp12x_gelu", 12)]
)
def test_projectors_map_widths(kind, linears):
    projector = build_projector(kind, 8, 16)
    assert projector(torch.zeros(2, 5, 8)).shape == (2, 5, 16)
    assert [type(module) for module in projector] == ([torch.nn.Linear, torch.nn.GELU] * linears)[:-1]


@pytest.mark.parametrize("kind", ["mlp0x_gelu", "mlp", "mlpx_gelu", "mlp2x_gelux", "mlp02x_gelu", "conv"])
def test_other_projectors_are_refused(kind):
    with pytest.raises(ValueError, match=f"model.projector={kind}"):
        build_projector(kind, 8, 16)
    with pytest.raises(ConfigError, match=f"model.projector={kind}: expected linear, resampler or mlpNx_gelu"):
        parse(ExperimentConfig(), [f"model.projector={kind}"])


@torch.no_grad()
def test_a_resampler_layer_is_attention_written_out():
    torch.manual_seed(0)
    layer = ResamplerLayer(130)  # two heads of 65
    queries, features = torch.randn(2, 3, 130), torch.randn(2, 7, 130)
    expected = []
    for asks, sees in zip(layer.norm_queries(queries), layer.norm_features(features), strict=True):
        rows = torch.cat([sees, asks])
        weights, biases = layer.attention.in_proj_weight.chunk(3), layer.attention.in_proj_bias.chunk(3)
        q, k, v = (x @ w.T + b for x, w, b in zip((asks, rows, rows), weights, biases, strict=True))
        heads = [(q[:, h] @ k[:, h].T / 65**0.5).softmax(-1) @ v[:, h] for h in (slice(0, 65), slice(65, 130))]
        expected.append(torch.cat(heads, 1) @ layer.attention.out_proj.weight.T + layer.attention.out_proj.bias)
    read = queries + torch.stack(expected)
    first, _, second = layer.mlp
    slow = read + F.gelu(layer.norm(read) @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(layer(queries, features), slow)


def test_a_resampler_reads_a_set():
    resampler = build_projector("resampler", 16, 8, queries=3)
    features = torch.randn(2, 10, 16)
    found = resampler(features)
    assert found.shape == (2, 3, 8)
    torch.testing.assert_close(resampler(features[:, torch.randperm(10)]), found)
    assert not torch.allclose(resampler(2 * features.roll(1, 0)), found, atol=1e-3)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_projector_trains_and_answers(setting, corpus, images):
    torch.manual_seed(0)
    vlm = build_model(model_config("tiny", weights="random", **SETTINGS[setting]), ["USER: where? ASSISTANT: lung"])
    assert vlm.num_image_tokens == TOKENS.get(setting, 16)
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, 512)
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    batch = collate_conversations([dataset[0, i] for i in range(2)], tokens, (), False)
    vlm.set_trainable(["vision", "projector", "llm"])
    optimizer = torch.optim.SGD([p for p in vlm.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(2):
        image_tokens = vlm.encode_images(batch.images)
        assert image_tokens.shape == (2, vlm.num_image_tokens, vlm.width)
        losses.append(vlm.lm_loss(vlm.hidden_states({"lm": (batch.lm, image_tokens)})["lm"], batch.lm))
        optimizer.zero_grad()
        losses[-1].backward()
        assert all((p.grad is not None) == p.requires_grad for p in vlm.parameters())
        optimizer.step()
    assert losses[1] < losses[0]
    records = corpus.splits["test"][:2]
    together = vlm.eval().generate(collate_questions([(images(r.image), r) for r in records], tokens), 3)
    assert together == [vlm.generate(collate_questions([(images(r.image), r)], tokens), 3)[0] for r in records]
