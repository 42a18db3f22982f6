import copy

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from medgraph.config import (
    ConfigError,
    ExperimentConfig,
    PhantomConfig,
    PromptOptions,
    StageConfig,
    model_config,
    parse,
)
from medgraph.data.collate import collate_conversations
from medgraph.data.loading import ConversationDataset
from medgraph.models.build import build_model, build_vision
from medgraph.models.prompts import DynamicPrompts, add_prompts
from medgraph.models.towers import StagedTower
from medgraph.models.vision import VisionTower, load_vision
from medgraph.training.prepare import corpus_texts
from medgraph.training.recipes import resolve
from medgraph.training.run import run
from medgraph.training.trained import load_trained
from medgraph.training.weights import load_weights, trained_state

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 8}  # fmt: skip
DINO = {key: value for key, value in TOWER.items() if key != "intermediate_size"} | {"mlp_ratio": 2}
TOWERS = {
    "clip": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOWER)),
    "siglip": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**TOWER)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO)),
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**TOWER)),
}
OPTIONS = PromptOptions(prompts=4, width=6, share=2)
IMAGES = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def fill(tower):
    """Give the upper projections weights, as training would."""
    torch.manual_seed(1)
    for module in tower.prompts:
        torch.nn.init.normal_(module.up.weight, std=0.3)
    return tower


@pytest.fixture
def prompted(vlm):
    """The tiny model with prompts that change it."""
    torch.manual_seed(0)
    add_prompts(vlm.vision, OPTIONS)
    fill(vlm.vision)
    return vlm


def test_what_is_added_follows_the_equations():
    torch.manual_seed(0)
    module, x = DynamicPrompts(8, 3, 4).double(), torch.randn(5, 8).double()
    torch.nn.init.normal_(module.up.weight)
    centred = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    low = torch.nn.functional.gelu(centred @ module.down.weight.T + module.down.bias)
    read = []
    for prompt in module.prompts:
        weight = torch.stack([(prompt @ token / 3**0.5).exp() for token in low])
        read.append(sum(w * token for w, token in zip(weight / weight.sum(), low, strict=True)))
    for t in range(5):
        weight = torch.stack([(low[t] @ each / 3**0.5).exp() for each in read])
        expected = module.up.weight @ sum(w * each for w, each in zip(weight / weight.sum(), read, strict=True))
        assert_close(module(x[None])[0, t], expected + module.up.bias)


def test_equal_tokens_of_different_images_get_different_additions():
    torch.manual_seed(0)
    module, tokens = DynamicPrompts(8, 3, 4), torch.randn(2, 5, 8)
    torch.nn.init.normal_(module.up.weight)
    tokens[1, 0] = tokens[0, 0]
    first, second = module(tokens)[:, 0]
    assert (first - second).abs().max() > 1e-3
    order = torch.tensor([3, 1, 0, 4, 2])
    assert_close(module(tokens[:, order]), module(tokens)[:, order])


@pytest.mark.parametrize("layer", [-1, -2])
@pytest.mark.parametrize("name", TOWERS)
def test_any_transformer_takes_prompts_that_start_as_nothing(name, layer, tmp_path):
    torch.manual_seed(0)
    TOWERS[name]().save_pretrained(tmp_path)
    plain = load_vision(str(tmp_path), layer, random=False).eval()
    tower = copy.deepcopy(plain)
    add_prompts(tower, OPTIONS)
    assert len(tower.prompts) == (2 if layer == -1 else 1)
    with torch.no_grad():
        assert_close(tower(IMAGES), plain(IMAGES), rtol=0, atol=0)
        changed = fill(tower)(IMAGES)
        assert (changed - plain(IMAGES)).abs().max() > 0.01
        assert_close(torch.cat([tower(image) for image in IMAGES.split(1)]), changed, rtol=1e-4, atol=1e-5)
        for module in tower.prompts:  # every block's prompts reach the features
            without = copy.deepcopy(tower)
            without.prompts[list(tower.prompts).index(module)].up.weight.data.zero_()
            assert (without(IMAGES) - changed).abs().max() > 1e-3
        assert_close(tower(IMAGES), changed)  # the copies have prompts of their own


def test_training_the_tower_trains_the_prompts_alone(prompted, corpus, images, tokens):
    prompted.set_trainable(["vision"])
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    batch = collate_conversations([dataset[0, i] for i in range(3)], tokens, (), False)
    hidden = prompted.hidden_states({"lm": (batch.lm, prompted.encode_images(batch.images))})["lm"]
    prompted.lm_loss(hidden, batch.lm).backward()
    with_gradient = {name for name, each in prompted.named_parameters() if each.grad is not None and each.grad.any()}
    assert with_gradient == set(prompted.trained_parameters(["vision"]))
    assert all(name.startswith("vision.prompts.") for name in with_gradient)
    count = sum(each.numel() for each in prompted.trained_parameters(["vision"]).values())
    width, groups = prompted.vision.width, 2
    assert count == groups * (2 * width * 6 + 6 + width + 4 * 6)


def test_prompts_are_saved_alone_and_loaded_strictly(prompted, corpus, tmp_path):
    plain = build_model(model_config("tiny", weights="random"), corpus_texts(corpus))
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    save_file(trained_state(prompted, ["vision"]), tmp_path / "weights.safetensors")
    assert all(name.startswith("vision.prompts.") for name in load_file(tmp_path / "weights.safetensors"))
    again = copy.deepcopy(plain)
    add_prompts(again.vision, OPTIONS)
    before = again.vision(images)
    load_weights(again, ["vision"], tmp_path / "weights.safetensors")
    for name, value in again.trained_parameters(["vision"]).items():
        assert torch.equal(value, prompted.get_parameter(name)), name
    assert (again.vision(images) - before).abs().max() > 1e-3
    with pytest.raises(ConfigError, match=r"has the unknown vision\.prompts"):
        load_weights(plain, ["vision"], tmp_path / "weights.safetensors")


def test_prompts_without_a_use_or_a_place_are_refused():
    stages = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    with pytest.raises(ConfigError, match=r"model\.dvpt\.prompts=4: StagedTower has no transformer blocks"):
        add_prompts(VisionTower(StagedTower(hf.ResNetModel(stages), 32), -1), OPTIONS)
    config = parse(ExperimentConfig(), ["model.dvpt.prompts=4"])
    assert resolve(config).stage2.train == ["vision", "projector", "llm"]
    config.stage1.train = config.stage2.train = config.stage3.train = ["projector"]
    with pytest.raises(ConfigError, match=r"model\.dvpt\.prompts=4 has no effect while no stage trains the tower"):
        resolve(config)
    with pytest.raises(ConfigError, match=r"take vision out of model\.lora\.parts"):
        parse(ExperimentConfig(), ["model.dvpt.prompts=4", "model.lora.rank=2", "model.lora.parts=[vision]"])
    with pytest.raises(ConfigError, match=r"model\.dvpt\.prompts=-1: expected 0 or more"):
        parse(ExperimentConfig(), ["model.dvpt.prompts=-1"])


def test_the_tower_of_a_configuration_has_its_prompts():
    tower = build_vision(model_config("tiny", vision_layer=-1, dvpt=OPTIONS))
    assert [tuple(each.prompts.shape) for each in tower.prompts] == [(4, 6), (4, 6)]


@pytest.mark.slow
def test_a_run_saves_its_prompts_and_its_model_is_loaded_again(tmp_path):
    config = ExperimentConfig(
        data=PhantomConfig(num_train=8, num_task=4, num_val=2, num_test=2, num_ood=2),
        model=model_config("tiny", weights="random", dvpt=OPTIONS),
        stage1=StageConfig(steps=0),
        stage2=StageConfig(steps=2, batch_size=4, train=["vision", "projector"]),
        stage3=StageConfig(steps=0),
    )
    options = "trainer.accelerator=cpu eval.splits=[test] eval.controls=false eval.likelihood=false"
    outcome = run(parse(config, [f"run.root={tmp_path}", *options.split()]))
    weights = load_file(outcome.folder / "stage2" / "weights.safetensors")
    assert {name.split(".")[0] for name in weights} == {"vision", "projector"}
    assert all(name.startswith("vision.prompts.") for name in weights if name.startswith("vision"))
    assert any(value.any() for name, value in weights.items() if name.endswith("up.weight"))
    state = load_trained(outcome.folder).vlm.state_dict()
    for name, value in weights.items():
        assert_close(state[name], value)
