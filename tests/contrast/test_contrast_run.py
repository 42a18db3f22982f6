"""A whole dual-encoder pre-training on phantoms, and what can be done with what it leaves behind."""

from __future__ import annotations

import dataclasses
import json
import math
import runpy
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from medgraph.config import ConfigError, PhantomConfig, RunConfig, TrainerConfig, model_config, parse
from medgraph.config.choices import head_config
from medgraph.contrast.encoder import build_encoder, build_head
from medgraph.contrast.module import ContrastModule
from medgraph.contrast.options import ContrastConfig, check, class_words
from medgraph.contrast.run import pretrain_dual
from medgraph.data.collate import stack_images
from medgraph.models.build import build_model
from medgraph.prompting.classes import ClassTexts
from medgraph.prompting.encoder import load_dual_encoder
from medgraph.prompting.method import ZeroShot
from medgraph.training.logging import read_metrics

FILE = Path(__file__).parents[2] / "experiments" / "contrast.py"
QUIET = Console(quiet=True)


def small(root, **changes) -> ContrastConfig:
    defaults = {
        "data": PhantomConfig(num_train=40, num_task=4, num_val=8, num_test=12, num_ood=0, num_modalities=2,
                              num_areas=2, num_findings=2, questions_per_image=1, augment=["shift"]),
        "alignment": head_config("mgca", num_prototypes=8),
        "run": RunConfig(root=str(root), name="run"),
        "trainer": TrainerConfig(accelerator="cpu", log_every=1, progress=False),
    }  # fmt: skip
    return ContrastConfig(**(defaults | {"steps": 2, "batch_size": 8, "measure_every": 2} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("contrast"))
    return config, pretrain_dual(config, QUIET)


def test_a_run_logs_its_loss_and_measures_what_was_learnt(finished):
    _, outcome = finished
    lines = read_metrics(outcome.folder / "metrics.jsonl")
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2]
    assert [line["step"] for line in lines if "val/zero_shot_label" in line] == [0, 2]
    figures = outcome.results.figures
    assert {"zero_shot_label", "image_to_text_1", "text_to_image_10", "linear_1", "linear_100"} <= set(figures)
    assert all(0 <= each.value <= 1 for each in figures.values())
    assert math.isnan(outcome.results.value("something_else"))
    page = (outcome.folder / "report.html").read_text()
    assert "Recall@5, text to image" in page
    assert not list((outcome.folder / "contrast").glob("*.ckpt"))
    assert json.loads((outcome.folder / "data.json").read_text())["leaks"].startswith("No leak")


def test_a_finished_run_is_read_and_not_repeated(finished):
    config, outcome = finished
    assert repr(pretrain_dual(config, QUIET).results) == repr(outcome.results)  # NaN is not itself
    with pytest.raises(ConfigError, match="sentences: False -> True"):
        pretrain_dual(dataclasses.replace(config, sentences=True), QUIET)


def test_prompts_and_a_vlm_start_from_what_was_trained(finished, corpus):
    _, outcome = finished
    images = stack_images([corpus.load_image(record.image, 64) for record in corpus.splits["test"][:2]])
    trained = load_dual_encoder(str(outcome.encoder))
    assert trained.scale == pytest.approx(1 / 0.07, rel=1e-4)  # that of the head
    assert trained.mean.flatten().tolist() == [0.5] * 3
    assert ZeroShot(trained, ClassTexts(("a mass", "ct"), ()), ["{}"]).texts.shape == (2, 96)
    vlm = build_model(model_config("tiny", vision=str(outcome.encoder), vision_layer=-2), ["what organ is shown?"])
    with torch.no_grad():
        pixels = (images.float() / 255 - trained.mean) / trained.std
        expected = trained.model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(vlm.vision(images), expected[:, 1:])
    again = build_encoder(str(outcome.encoder), False, ())
    torch.testing.assert_close(again.encode_images(images).pooled, trained.encode_images(images).pooled)


def test_a_learnt_temperature_goes_on_from_the_one_of_the_encoder(finished, encoder):
    trained = build_encoder(str(finished[1].encoder), False, ())
    for goes_on, scale in ((True, trained.scale), (False, 10)):
        options = {"temperature": 0.1, "center": False}
        head = build_head(_head("infonce", **options), trained, goes_on)
        assert head.scale.log_scale.exp().item() == pytest.approx(scale, rel=1e-4)
    fixed = build_head(_head("infonce", temperature=0.1, learn_temperature=False), trained, True)
    assert fixed.scale.log_scale.exp().item() == pytest.approx(10)


def _head(name, **options):
    from medgraph.alignment.options import make_head

    return make_head(head_config(name, **options))


@pytest.mark.parametrize("name", ["siglip", "ot", "exgra", "medslip"])
def test_other_heads_train_the_encoders_too(name, corpus, encoder):
    from medgraph.contrast.data import PairDataModule
    from medgraph.contrast.encoder import batch_nodes

    config = ContrastConfig(alignment=head_config(name))
    module = ContrastModule(encoder, build_head(_head(name), encoder, False), config)
    batch = next(iter(PairDataModule(corpus, encoder, "extended", 8, seed=0).train_dataloader()))
    module.head(batch_nodes(module.encoder, batch, module.noise)).loss.backward()
    towers = [encoder.model.vision_model, encoder.model.text_model]
    assert all(any(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters()) for tower in towers)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("alignment=none", "alignment=none: nothing would be learnt"),
        ("alignment=convirt", "alignment.projection=512 would make a space that is not saved; add"),
        ("alignment.temperature=-1", "alignment=infonce: temperature=-1"),
        ("templates=[no place]", "expected texts with a place {} for the class"),
        ("words=[normal]", "words=normal: expected class:words"),
        ("words=[normal: fine]", "expected class:words without a blank"),
        ("batch_size=1", "batch_size=1: expected at least 2"),
        ("text=title", "text=title: expected extended or answer"),
        ("trainer.devices=2", "trainer.devices=2: this training runs on one device"),
        ("data=medmat", "data.root is not set"),
    ],
)  # fmt: skip
def test_mistakes_are_named(argument, message):
    with pytest.raises(ConfigError) as error:
        parse(ContrastConfig(), [argument], check)
    assert message in str(error.value)


def test_words_stand_for_classes():
    config = parse(ContrastConfig(), ["words=[normal:no abnormality,lung:the lungs]"], check)
    assert class_words(config) == {"normal": "no abnormality", "lung": "the lungs"}


def test_every_arm_differs_from_pubmed_clip_in_what_its_name_says():
    plan = runpy.run_path(str(FILE))["plan"]()
    base = parse(plan.base, (), check)
    for name, overrides in plan.arms.items():
        config = parse(plan.base, overrides, check)
        changed = {key for key in vars(base) if getattr(base, key) != getattr(config, key)}
        assert changed == {"random": {"steps"}, "pubmed_clip": set(), "convirt": {"alignment", "sentences"}}.get(
            name, {"alignment"}
        ), name
    assert plan.default[0] == "random"


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_weights(whole_and_parts):
    head = head_config("mgca", num_prototypes=8)
    options = {"steps": 8, "sentences": True, "alignment": head, "measure_every": 0}
    whole, parts = whole_and_parts(pretrain_dual, small, ContrastModule, 5, **options)
    first, second = (load_file(each.encoder / "model.safetensors") for each in (whole, parts))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(second[name], value), name
    assert repr(parts.results) == repr(whole.results)
    logs = [json.dumps(read_metrics(each.folder / "metrics.jsonl")) for each in (whole, parts)]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_clip_learns_to_classify_and_to_find(tmp_path):
    data = PhantomConfig(num_train=200, num_task=1, num_val=8, num_test=60, num_ood=0, questions_per_image=1)
    clip = small(tmp_path, data=data, steps=120, batch_size=32, measure_every=0, lr=2e-3, templates=["{}."],
                 alignment=head_config("infonce", temperature=0.07, center=False))  # fmt: skip
    figures = pretrain_dual(clip, QUIET).results.figures
    for name in ("zero_shot_modality", "image_to_text_10", "text_to_image_10"):
        assert figures[name].low > figures[name].chance, name


@pytest.mark.slow
def test_the_experiment_compares_random_weights_with_a_method(tmp_path, capsys):
    main = runpy.run_path(str(FILE))["main"]
    comparisons = main([
        "arms=mgca", "seeds=1", "steps=2", "batch_size=8", "data.num_train=40", "data.num_val=8", "data.num_test=12",
        f"run.root={tmp_path}", "trainer.accelerator=cpu",
    ])  # fmt: skip
    assert len(comparisons) == 12
    assert [row.arm for row in comparisons[0].rows] == ["random", "mgca"]
    printed = capsys.readouterr().out
    assert "Overview" in printed
    assert "Recall@10, text to image" in printed
    (page,) = tmp_path.glob("contrast/*/report.html")
    assert "Accuracy of a linear probe, 100" in page.read_text()
    assert (page.parent / "overview.csv").exists()
