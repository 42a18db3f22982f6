"""A whole segmentation of phantoms, interrupted or not, and the study made of such."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from medgraph.config import ConfigError, PhantomConfig, RunConfig, TrainerConfig, model_config, parse
from medgraph.models.build import build_vision
from medgraph.models.saving import save_encoder
from medgraph.segmentation.masks import masked_phantoms
from medgraph.segmentation.module import SegmentationModule
from medgraph.segmentation.options import SegmentationConfig, check
from medgraph.segmentation.overlap import count_pixels, overlap_figures
from medgraph.segmentation.run import segment
from medgraph.training.logging import read_metrics

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "lvm_med_downstream.py"
QUIET = Console(quiet=True)
PHANTOMS = PhantomConfig(
    num_train=16, num_val=4, num_test=6, num_ood=0, num_modalities=2, num_areas=2, num_findings=2, holdout=0.0
)


def small(root, **changes) -> SegmentationConfig:
    defaults = {
        "data": PHANTOMS,
        "run": RunConfig(root=str(root), name="run"),
        "trainer": TrainerConfig(accelerator="cpu", log_every=1, progress=False),
    }
    return SegmentationConfig(**(defaults | {"steps": 3, "batch_size": 4, "validate_every": 2} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = small(tmp_path_factory.mktemp("segmentation"), weights="random")
    return config, segment(config, QUIET)


def test_a_run_is_logged_validated_tested_and_reported(finished):
    _, outcome = finished
    lines = read_metrics(outcome.folder / "metrics.jsonl")
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3]
    assert [line["step"] for line in lines if "val/dice" in line] == [2, 3]
    assert outcome.results.n == 6
    assert set(outcome.results.figures) == {"dice", "iou", "dice_mass", "iou_mass"}
    assert 0 <= outcome.results.value("iou") <= outcome.results.value("dice") <= 1
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert "Worst of the test images" in page
    assert "Overlap on validation" in page
    assert not list((outcome.folder / "segmentation").glob("*.ckpt"))


def test_a_finished_run_is_read_and_not_repeated(finished):
    config, outcome = finished
    assert segment(config, QUIET).results == outcome.results
    with pytest.raises(ConfigError, match=r"lr: 0\.001 -> 0\.01"):
        segment(dataclasses.replace(config, lr=0.01), QUIET)


def test_a_folder_without_a_split_for_validation_is_not_validated(pairs, tmp_path):
    outcome = segment(small(tmp_path / "runs", masks=str(pairs), steps=1, weights="random"), QUIET)
    assert outcome.results.n == 4
    assert not [line for line in read_metrics(outcome.folder / "metrics.jsonl") if "val/dice" in line]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["steps=0"], "steps=0: expected at least 1"),
        (["data.augment=[shift]"], r"data.augment=\['shift'\]: images with masks are read as they are and keep"),
        (["masks=.", "data.fraction=0.5"], "data.fraction=0.5: images with masks"),
        (["masks=nowhere"], "masks=nowhere: no such folder; expected one with train/images"),
        (["trainer.devices=2"], "runs on one device"),
        (["vision=huge"], "vision=huge: unknown tower"),
        (["vision=runs/lvm_med/x/seed-3/encoder"], "seed-3/encoder: no such folder; give one"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        parse(SegmentationConfig(), arguments, check)


def test_encoders_become_arms_against_random_weights(tmp_path):
    plan = runpy.run_path(str(EXPERIMENT))["plan"]
    for task in ("segmentation", "classification"):
        study = plan(task, ["a:x/a-{seed}", "b:x/b"])
        assert study.arms == {
            "random": ("vision=x/a-{seed}", "weights=random"), "a": ("vision=x/a-{seed}",), "b": ("vision=x/b",)
        }  # fmt: skip
        assert study.default[0] == "random"
        for arm in study.arms.values():
            parse(study.base, arm, study.check)
    for arm in ("random", "byol"):
        (tmp_path / arm / "seed-0" / "encoder").mkdir(parents=True)
    towers = {arm: (f"vision={tmp_path}/{arm}/seed-{{seed}}/encoder",) for arm in ("random", "byol")}
    assert plan(encoders=[str(tmp_path)]).arms == towers
    for arguments, message in [
        (("boxes", []), "task=boxes: expected segmentation or classification"),
        (("segmentation", [":x"]), "encoders=:x: expected NAME:PATH"),
    ]:
        with pytest.raises(ConfigError, match=message):
            plan(*arguments)


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_results(whole_and_parts):
    whole, parts = whole_and_parts(segment, small, SegmentationModule, 5, steps=8)
    assert parts.results == whole.results
    assert json.dumps(read_metrics(parts.folder / "metrics.jsonl")) == json.dumps(
        read_metrics(whole.folder / "metrics.jsonl")
    )


@pytest.mark.slow
def test_segmentation_learns_more_than_a_constant_mask(tmp_path):
    data = dataclasses.replace(PHANTOMS, num_train=64, num_test=32)
    source = masked_phantoms(data)
    masks = np.stack([source.load(name, 64)[..., 3] for name in source.splits["test"]])
    constant = overlap_figures(count_pixels(np.ones_like(masks), masks, 2), source.classes)["dice"]
    config = small(tmp_path, data=data, steps=60, batch_size=16, weights="random", lr=2e-3, validate_every=0)
    assert segment(config, QUIET).results.value("dice") > constant + 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("task", "figures"), [("segmentation", 2), ("classification", 3)])
def test_the_experiment_takes_the_tower_of_each_seed(tmp_path, task, figures):
    for seed in range(2):
        save_encoder(build_vision(model_config("tiny", vision_layer=-1)), tmp_path / f"seed-{seed}" / "encoder")
    main = runpy.run_path(str(EXPERIMENT))["main"]
    arguments = [
        f"task={task}", f"encoders=ours:{tmp_path}/seed-{{seed}}/encoder", "seeds=2", "steps=2", "data.num_train=40",
        "data.num_val=12", "data.num_test=12", "data.num_findings=2", f"run.root={tmp_path}", "run.name=x",
        "trainer.accelerator=cpu",
    ]  # fmt: skip
    comparisons = main(arguments)
    assert len(comparisons) == figures
    assert [row.arm for row in comparisons[0].rows] == ["random", "ours"]
    folder = tmp_path / "lvm_med_downstream" / "x"
    assert "Fine-tuning of encoders" in (folder / "report.html").read_text(encoding="utf-8")
    assert "seed-1/encoder" in (folder / "ours" / "seed-1" / "config.yaml").read_text(encoding="utf-8")
    assert [row.values for row in main(arguments)[0].rows] == [row.values for row in comparisons[0].rows]
