import re

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, ViTConfig, ViTModel

from medgraph.config import ConfigError
from medgraph.models.connectors import Connector, pool_grid
from medgraph.models.vision import VisionTower

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 8}  # fmt: skip


def tower(layer=-2, kind="none", pool=1, build=lambda: CLIPVisionModel(CLIPVisionConfig(**SIZES))):
    torch.manual_seed(0)
    return VisionTower(build(), layer, (0.5,) * 3, (0.5,) * 3, Connector(kind, pool)).eval()


@pytest.fixture
def images():
    return torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def hidden_states(images):
    """Patches of all seven hidden states of the whole tower."""
    torch.manual_seed(0)
    model = CLIPVisionModel(CLIPVisionConfig(**SIZES)).eval()
    states = model((images.float() / 255 - 0.5) / 0.5, output_hidden_states=True).hidden_states
    return [state[:, 1:] for state in states]


@pytest.mark.parametrize(
    ("kind", "blocks", "expected"),
    [
        ("none", 24, []),
        ("sti", 24, [7, 15]),
        ("sci", 24, [7, 15]),
        ("dci", 24, list(range(24))),
        ("dci", 12, list(range(12))),
        ("dci", 27, list(range(26))),  # two groups of 13 for SigLIP
    ],
)
def test_the_layers_are_those_of_the_release(kind, blocks, expected):
    assert Connector(kind).others(blocks) == expected


def test_sparse_token_integration(images):
    states = hidden_states(images)
    rows = [states[5][:, i] for i in range(16)]
    rows += [states[layer][:, start : start + 8].mean(1) for layer in (1, 3) for start in (0, 8)]
    found = tower(kind="sti")
    torch.testing.assert_close(found(images), torch.stack(rows, 1))
    assert (found.num_tokens, found.width) == (20, 16)


def test_sparse_channel_integration(images):
    states = hidden_states(images)
    found = tower(kind="sci")
    torch.testing.assert_close(found(images), torch.cat([states[5], states[1], states[3]], 2))
    assert (found.num_tokens, found.width) == (16, 48)


def test_dense_channel_integration(images):
    h = hidden_states(images)
    groups = [h[5], (h[0] + h[1] + h[2]) / 3, (h[3] + h[4] + h[5]) / 3]
    found = tower(kind="dci")
    torch.testing.assert_close(found(images), torch.cat(groups, 2))
    assert (found.num_tokens, found.width) == (16, 48)


@pytest.mark.parametrize("kind", ["none", "sti", "sci", "dci"])
def test_what_a_connector_does_not_need_is_cut_or_frozen(kind, images):
    used = tower(-4, kind)  # the chosen layer is 3; dense channel integration goes up to 5
    assert len(used.model.encoder.layers) == (5 if kind == "dci" else 3)
    used(images).square().sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in used.parameters())


def test_the_own_output_of_a_tower_keeps_its_final_norm(images):
    build = lambda: ViTModel(ViTConfig(**SIZES))  # noqa: E731
    single, dense = tower(-1, build=build), tower(-1, "dci", build=build)
    torch.testing.assert_close(dense(images)[..., :16], single(images))


def test_pooling_averages_squares_in_the_order_of_the_rows():
    grid = torch.arange(16.0).view(4, 4)
    expected = [[grid[r : r + 2, c : c + 2].mean().item()] for r in (0, 2) for c in (0, 2)]
    assert pool_grid(grid.view(1, 16, 1), 2)[0].tolist() == expected


def test_pooled_tokens_are_quarters_of_the_image():
    """Four colours in four quarters, and blocks that change nothing: a pooled token is any patch of its quarter."""
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    for channel, (row, column) in enumerate([(0, 0), (0, 16), (16, 0)]):  # red, green, blue and black
        images[:, channel, row : row + 16, column : column + 16] = 250
    whole, pooled = tower(), tower(pool=2)
    for vision in (whole, pooled):
        vision.model.embeddings.position_embedding.weight.data.zero_()
        for block in vision.model.encoder.layers:
            for linear in (block.self_attn.out_proj, block.mlp.fc2):
                torch.nn.init.zeros_(linear.weight), torch.nn.init.zeros_(linear.bias)
    quarters = whole(images)[:, [0, 2, 8, 10]]  # top left patch of each quarter
    torch.testing.assert_close(pooled(images), quarters)
    assert torch.cdist(quarters, quarters)[0].add(torch.eye(4)).min() > 0.01


def test_pooling_and_layers_together(images):
    states = [pool_grid(state, 2) for state in hidden_states(images)]
    found = tower(kind="sci", pool=2)
    torch.testing.assert_close(found(images), torch.cat([states[5], states[1], states[3]], 2))
    assert (found.num_tokens, found.width) == (4, 48)


@pytest.mark.parametrize(
    ("kind", "pool", "message"),
    [
        ("none", 3, "model.pool=3 does not divide the grid of 4 x 4 patches; possible are 1, 2, 4"),
        ("sti", 2, "model.connector=sti: averages groups of 8 tokens, an image has 4; lower model.pool"),
    ],
)
def test_grids_that_cannot_be_pooled(kind, pool, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        tower(kind=kind, pool=pool)


@pytest.mark.parametrize(("kind", "needs"), [("sti", 3), ("sci", 3), ("dci", 2)])
def test_towers_that_are_too_shallow(kind, needs):
    with pytest.raises(ConfigError, match=rf"model.connector={kind}: needs a vision tower of {needs} blocks or more"):
        Connector(kind).others(needs - 1)
