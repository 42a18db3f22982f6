import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from medgraph.models.vision import VisionTower, load_vision

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32,
         "patch_size": 8}  # fmt: skip


def clip():
    return CLIPVisionModel(CLIPVisionConfig(**SIZES))


@pytest.mark.parametrize("layer", [-1, -2, -3])
def test_features_are_the_chosen_hidden_state_without_the_class_token(layer):
    model = clip().eval()
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    pixels = (images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        expected = model(pixels, output_hidden_states=True).hidden_states[layer][:, 1:]
        found = VisionTower(model, layer, mean, std)(images)
    torch.testing.assert_close(found, expected)


def test_blocks_behind_the_layer_are_gone_and_unused_parameters_frozen():
    tower = VisionTower(clip(), -2)
    assert len(tower.model.encoder.layers) == 2
    tower(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in tower.parameters())
    assert not tower.model.post_layernorm.weight.requires_grad


@pytest.mark.parametrize("layer", [0, 1, -5])
def test_a_layer_that_does_not_exist_is_refused(layer):
    with pytest.raises(ValueError, match=rf"model.vision_layer={layer}: expected"):
        VisionTower(clip(), layer)


@pytest.mark.parametrize(
    "build",
    [
        clip,
        lambda: CLIPModel(CLIPConfig(vision_config=SIZES, text_config={"hidden_size": 32, "num_hidden_layers": 1})),
        lambda: SiglipVisionModel(SiglipVisionConfig(**SIZES)),
        lambda: Dinov2Model(Dinov2Config(mlp_ratio=2, **{k: v for k, v in SIZES.items() if k != "intermediate_size"})),
        lambda: ViTModel(ViTConfig(**SIZES)),
    ],
    ids=["clip-vision", "clip", "siglip", "dinov2", "vit"],
)
def test_towers_load_by_path(build, tmp_path):
    build().save_pretrained(tmp_path)
    tower = load_vision(str(tmp_path), -2, random=False)
    assert tower(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 16, 32)
    again = load_vision(str(tmp_path), -2, random=False)
    images = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(tower.eval()(images), again.eval()(images))
