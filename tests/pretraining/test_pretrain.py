"""A whole pre-training on phantoms, and what can be done with what it leaves behind."""

import dataclasses
import json

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from medgraph.config import ConfigError, PhantomConfig, RunConfig, TrainerConfig, model_config, parse
from medgraph.data.collate import stack_images
from medgraph.models.build import build_model, build_vision
from medgraph.models.vision import load_vision
from medgraph.pretraining.data import ViewDataModule
from medgraph.pretraining.losses import EncodedViews
from medgraph.pretraining.module import PretrainModule
from medgraph.pretraining.options import MatchingOptions, PretrainConfig, check
from medgraph.pretraining.run import pretrain
from medgraph.training.logging import read_metrics

QUIET = Console(quiet=True)


def small(root, **changes) -> PretrainConfig:
    defaults = {
        "data": PhantomConfig(num_train=36, num_task=4, num_val=8, num_test=8, num_ood=0, num_findings=2),
        "matching": MatchingOptions(graph_size=4, k=2),
        "run": RunConfig(root=str(root), name="run"),
        "trainer": TrainerConfig(accelerator="cpu", log_every=1, progress=False),
    }
    fields = defaults | {"steps": 2, "batch_size": 8, "probe_every": 2, "hidden": 16, "projection": 8} | changes
    return PretrainConfig(**fields)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("pretraining"))
    return config, pretrain(config, QUIET)


def test_a_run_logs_probes_collapse_figures_and_its_loss(finished):
    _, outcome = finished
    lines = read_metrics(outcome.folder / "metrics.jsonl")
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2]
    assert all(0 <= line["train/loss"] <= 2 for line in lines if "train/loss" in line)
    probed = [line for line in lines if "val/linear" in line]
    assert [line["step"] for line in probed] == [0, 2]
    assert all(line["val/effective_rank"] > 1 and 0 < line["val/feature_sd"] <= 1 for line in probed)
    assert set(outcome.results.probes) == {"knn", "linear"}
    page = (outcome.folder / "report.html").read_text()
    assert "Effective rank" in page
    assert "trained " in page
    compute = json.loads((outcome.folder / "compute.json").read_text())["pretraining"]
    assert compute["steps"] == 2
    assert compute["seconds"] > 0
    assert "linear" in page
    assert not list((outcome.folder / "pretraining").glob("*.ckpt"))


def test_a_finished_run_is_read_and_not_repeated(finished):
    config, outcome = finished
    assert pretrain(config, QUIET).results == outcome.results
    with pytest.raises(ConfigError, match="method: lvm_med -> simclr"):
        pretrain(dataclasses.replace(config, method="simclr"), QUIET)


def test_a_vlm_starts_from_the_trained_encoder(finished, corpus):
    config, outcome = finished
    torch.manual_seed(config.seed)
    start = build_vision(model_config("tiny", weights="random"))
    trained = load_vision(str(outcome.encoder), -1, random=False)
    images = stack_images([corpus.load_image(corpus.splits["test"][0].image, 64)])
    model = model_config("tiny", vision=str(outcome.encoder), vision_layer=-1)
    vlm = build_model(model, ["what organ is shown?"])
    with torch.no_grad():
        torch.testing.assert_close(vlm.vision(images), trained(images))
        assert not torch.allclose(trained(images), start(images), atol=1e-3)
    assert trained.image_size == 64
    torch.testing.assert_close(trained.mean, start.mean)


@pytest.mark.parametrize("method", ["simclr", "vicreg", "byol"])
def test_every_method_trains_the_tower(method, corpus, tmp_path):
    config = small(tmp_path, method=method)
    module = PretrainModule(build_vision(model_config("tiny", weights="random", vision_layer=-1)), config)
    batch = next(iter(ViewDataModule(corpus, 64, config.views, 8, seed=0).train_dataloader()))
    projected, maps = module.branch(batch.pixels)
    assert projected.shape == (2, 8, 8)
    assert maps.shape == (2, 8, 16, 96)
    targets = None if module.target is None else module.target(batch.pixels)[0]
    views = EncodedViews(projected, maps, batch.boxes, batch.flips, batch.image_ids, module.noise, targets)
    module.loss(views)[0].backward()
    missing = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert (module.target is not None) == (method == "byol")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("batch_size=24", "batch_size=24 cannot be cut into graphs of matching.graph_size=16; use batch_size=32"),
        ("matching.alpha=1.5", "matching.alpha=1.5: expected a number in"),
        ("method=mae", "method=mae: expected lvm_med or simclr"),
        ("model=tiny", "unknown key"),
        ("trainer.devices=2", "trainer.devices=2: this training runs on one device"),
        ("views.min_local_area=0.6", "views.min_local_area=0.6 is above views.min_area=0.4"),
        ("images=/no/such", "images=/no/such: no such folder"),
        ("data=medmat", "data.root is not set"),
    ],
)
def test_mistakes_are_named(argument, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        parse(PretrainConfig(), [argument], check)


def test_the_source_of_the_images_is_chosen_as_anywhere_else(tmp_path):
    config = parse(PretrainConfig(), ["data=vqa_rad", f"data.root={tmp_path}", "matching.k=3"], check)
    assert config.data.name == "vqa_rad"
    assert config.matching.k == 3


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lvm_med", "byol"])
def test_an_interrupted_run_ends_with_the_same_weights(method, whole_and_parts):
    whole, parts = whole_and_parts(pretrain, small, PretrainModule, 7, method=method, steps=8, probe_every=4)
    first, second = (load_file(each.encoder / "model.safetensors") for each in (whole, parts))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(second[name], value), name
    logs = [read_metrics(each.folder / "metrics.jsonl") for each in (whole, parts)]
    for lines in logs:
        for line in lines:
            line.pop("train/solver_seconds", None)
    assert json.dumps(logs[0]) == json.dumps(logs[1])


@pytest.mark.slow
def test_a_resnet_is_trained_saved_and_loaded(tmp_path, corpus):
    from transformers import ResNetConfig, ResNetModel

    folder = tmp_path / "resnet"
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "CLIPImageProcessor", "size": {"height": 64, "width": 64}})
    )
    outcome = pretrain(small(tmp_path, vision=str(folder), weights="pretrained"), QUIET)
    tower = load_vision(str(outcome.encoder), -1, random=False).eval()
    assert tower.image_size == 64
    assert tower.patches == 64
    statistics = [value for name, value in tower.state_dict().items() if name.endswith("running_mean")]
    assert any(value.abs().sum() > 0 for value in statistics)
