from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from medgraph.models.vision import load_vision

IMAGES = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
DATA = {"mean": MEAN, "std": STD}


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="timm cannot be imported (it needs torchvision)")


def normalised(images):
    return (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'medgraph\[timm\]'"):
        load_vision("hf-hub:microsoft/BiomedCLIP", -2, random=False)


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_a_timm_transformer_gives_the_patches_of_the_chosen_layer(timm, name, tmp_path):
    sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2}
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, pretrained_cfg_overlay=DATA, **sizes).eval()
    timm.models.save_for_hf(model, tmp_path, model_args=sizes)
    pixels, extra = normalised(IMAGES), model.num_prefix_tokens
    second = model.forward_intermediates(pixels, indices=[1], norm=False, output_fmt="NLC", intermediates_only=True)[0]
    for layer, expected in ((-2, second), (-1, model.forward_features(pixels)[:, extra:])):
        tower = load_vision(f"local-dir:{tmp_path}", layer, random=False).eval()
        assert (tower.image_size, tower.num_tokens, tower.width) == (64, 16, 32)
        torch.testing.assert_close(tower(IMAGES), expected, rtol=1e-5, atol=1e-5)
    assert len(load_vision(f"local-dir:{tmp_path}", -2, random=True).model.trunk.blocks) == 2


@torch.no_grad()
def test_the_tower_of_an_open_clip_checkpoint_is_taken_out_of_it(timm, tmp_path):
    torch.manual_seed(0)
    trunk = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    weights = {f"visual.trunk.{key}": value for key, value in trunk.state_dict().items()}
    torch.save({**weights, "text.proj": torch.zeros(3), "logit_scale": torch.zeros(())},
               tmp_path / "open_clip_pytorch_model.bin")  # fmt: skip
    content = {"model_cfg": {"vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224}},
               "preprocess_cfg": DATA}  # fmt: skip
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    tower = load_vision(f"local-dir:{tmp_path}", -1, random=False).eval()
    images = IMAGES[:1].repeat(1, 1, 4, 4)[..., :224, :224]
    assert tower.num_tokens == 196
    torch.testing.assert_close(tower(images), trunk.forward_features(normalised(images))[:, 1:])
    content["model_cfg"]["vision_cfg"] = {"layers": 12, "width": 768}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="its tower is open_clip's own"):
        load_vision(f"local-dir:{tmp_path}", -1, random=False)


@torch.no_grad()
def test_a_timm_model_of_stages_gives_the_grid_of_its_last_one(timm, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("convnext_atto", num_classes=0, pretrained_cfg_overlay=DATA).eval()
    timm.models.save_for_hf(model, tmp_path)
    tower = load_vision(f"local-dir:{tmp_path}", -1, random=False).eval()
    images = IMAGES[:1].repeat(1, 1, 4, 4)[..., : tower.image_size, : tower.image_size]
    expected = model.forward_features(normalised(images)).flatten(2).mT
    torch.testing.assert_close(tower(images), expected)
    assert tower.num_tokens == expected.shape[1]
