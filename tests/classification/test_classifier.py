"""A whole fine-tuning on phantoms, and its parts."""

import copy
import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from medgraph.classification.data import LabelledDataModule
from medgraph.classification.module import Classifier, ClassifierModule
from medgraph.classification.options import ClassifierConfig, check
from medgraph.classification.run import classify
from medgraph.classification.study import read_kept
from medgraph.config import (
    ConfigError,
    PhantomConfig,
    PromptOptions,
    RunConfig,
    TrainerConfig,
    mix_config,
    model_config,
    parse,
)
from medgraph.models.build import build_vision
from medgraph.report.runs import read_run_summary
from medgraph.training.arms import keep_last
from medgraph.training.logging import read_metrics

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
QUIET = Console(quiet=True)


def small(root, **changes) -> ClassifierConfig:
    defaults = {
        "data": PhantomConfig(
            num_train=36, num_task=1, num_val=10, num_test=12, num_ood=0, num_modalities=2, num_areas=2, num_findings=2
        ),
        "run": RunConfig(root=str(root), name="run"),
        "trainer": TrainerConfig(accelerator="cpu", log_every=1, progress=False),
    }
    return ClassifierConfig(**(defaults | {"steps": 3, "batch_size": 4, "validate_every": 2} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("classification"), mix=mix_config("snapmix"))
    return config, classify(config, QUIET)


@pytest.fixture(scope="module")
def tower():
    return build_vision(model_config("tiny", vision_layer=-1))


def test_a_run_logs_its_loss_and_is_tested_once(finished):
    _, outcome = finished
    lines = read_metrics(outcome.folder / "metrics.jsonl")
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3]
    assert [line["step"] for line in lines if "val/accuracy" in line] == [2, 3]
    test = outcome.results.test
    assert (test.n, test.classes) == (12, 7)
    assert outcome.results.value("accuracy") == test.figures["accuracy"].value
    assert set(test.figures) == {"accuracy", "macro_recall", "macro_f1", "macro_auroc"}
    assert outcome.results.trained > 100_000
    assert not list((outcome.folder / "classifier").glob("*.ckpt"))


def test_a_run_ends_with_a_page_and_is_listed_with_its_cost(finished):
    _, outcome = finished
    page = (outcome.folder / "report.html").read_text()
    assert all(text in page for text in ("macro auroc", "mix: snapmix", "Accuracy on validation", "trained "))
    run = read_run_summary(outcome.folder)
    assert (run.state, run.method, run.steps) == ("finished", "full", 3)
    assert run.seconds > 0


def test_a_finished_run_is_read_and_not_repeated(finished):
    config, outcome = finished
    assert classify(config, QUIET).results == outcome.results
    with pytest.raises(ConfigError, match=r"mix\.alpha: 5\.0 -> 1\.0"):
        classify(dataclasses.replace(config, mix=mix_config("snapmix", alpha=1.0)), QUIET)


def test_the_mean_of_an_activation_map_is_the_logit(tower, corpus):
    torch.manual_seed(0)
    data = LabelledDataModule(corpus, tower.image_size, 6, seed=0)
    classifier = Classifier(tower, data.classes).eval()
    batch = next(iter(data.train_dataloader()))
    logits = classifier(batch.images)
    maps = classifier.activation_maps(batch.images / 255, torch.eye(data.classes)[batch.labels])
    assert maps.shape == (6, 4, 4)
    assert not maps.requires_grad
    torch.testing.assert_close(maps.mean((1, 2)), logits[range(6), batch.labels])
    found = classifier.probabilities(data.load, data.splits["val"])
    assert found.x.shape == (len(data.splits["val"]), data.classes)
    np.testing.assert_allclose(found.x.sum(1), 1)


def test_linear_tuning_trains_the_head_alone(tower):
    classifier = Classifier(copy.deepcopy(tower), 5, "linear")
    classifier(torch.rand(2, 3, 64, 64) * 255).sum().backward()
    with_gradient = {name for name, each in classifier.named_parameters() if each.grad is not None}
    assert with_gradient == {"head.weight", "head.bias"}


def test_training_images_are_augmented_by_epoch_and_others_are_not(corpus):
    data = LabelledDataModule(corpus, 32, 8, seed=0, changes=["shift"])
    first, second = (data.dataset[epoch, 0] for epoch in (0, 1))
    assert first[1] == second[1]
    assert (first[0] != second[0]).any()
    np.testing.assert_array_equal(data.dataset[0, 0][0], first[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mix=snapmax"], "mix=snapmax: no such mix; did you mean 'snapmix'"),
        (["mix.alpha=1"], "this key belongs to mix=mixup, cutmix, snapmix, augmix; add one of them"),
        (["mix=cutmix", "mix.alpha=0"], "mix.alpha=0.0: expected a number above 0"),
        (["mix=cropmix", "mix.scale=0"], "mix.scale=0.0: expected a share in"),
        (["tuning=half"], "tuning=half: expected full or dvpt or linear"),
        (["trainer.devices=2"], "runs on one device"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parse(ClassifierConfig(), arguments, check)


@pytest.mark.parametrize(("file", "varied"), [("mediaug", {"mix"}), ("dvpt", {"tuning", "lr"})])
def test_every_arm_of_an_experiment_changes_what_it_is_about_and_nothing_else(file, varied):
    plan = runpy.run_path(str(EXPERIMENTS / f"{file}.py"))["plan"]()
    base = parse(plan.base, (), check)
    for name, overrides in plan.arms.items():
        config = parse(plan.base, overrides, check)
        assert {key for key in vars(base) if getattr(base, key) != getattr(config, key)} <= varied
        assert (config.mix.name if file == "mediaug" else config.tuning) == name.removesuffix("_alone")


def test_prompts_of_a_classifier_are_trained_and_the_tower_is_not():
    tower = build_vision(model_config("tiny", vision_layer=-1, dvpt=PromptOptions(prompts=5, width=4)))
    classifier = Classifier(tower, 5, "dvpt")
    trained = {name for name, each in classifier.named_parameters() if each.requires_grad}
    assert trained == {
        "head.weight",
        "head.bias",
        *(f"tower.prompts.{name}" for name, _ in tower.prompts.named_parameters()),
    }


def test_runs_of_a_study_share_the_decoded_images_of_the_last_corpus():
    read = keep_last(read_kept)
    corpus = read(small("").data)
    image = corpus.splits["val"][0].image
    assert read(small("").data) is corpus
    assert corpus.load_image(image, 32) is corpus.load_image(image, 32)
    other = read(dataclasses.replace(small("").data, num_val=6))
    assert len(other.splits["val"]) < len(corpus.splits["val"])


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_results(whole_and_parts):
    whole, parts = whole_and_parts(classify, small, ClassifierModule, 5, mix=mix_config("yoco"), steps=8)
    assert parts.results == whole.results
    assert json.dumps(read_metrics(parts.folder / "metrics.jsonl")) == json.dumps(
        read_metrics(whole.folder / "metrics.jsonl")
    )


@pytest.mark.slow
def test_the_experiment_compares_mixes_with_none(tmp_path, capsys):
    main = runpy.run_path(str(EXPERIMENTS / "mediaug.py"))["main"]
    arguments = [
        "arms=cutmix,augmix", "seeds=2", "steps=2", "data.num_train=40", "data.num_val=12", "data.num_test=12",
        "data.num_findings=2", f"run.root={tmp_path}", "trainer.accelerator=cpu",
    ]  # fmt: skip
    accuracy, *_ = main(arguments)
    assert [row.arm for row in accuracy.rows] == ["none", "cutmix", "augmix"]
    assert "augmix" in capsys.readouterr().out
    (page,) = tmp_path.glob("mediaug/*/report.html")
    assert "Macro AUROC" in page.read_text()
    again, *_ = main(arguments)
    assert [row.values for row in again.rows] == [row.values for row in accuracy.rows]
