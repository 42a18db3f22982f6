import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medgraph.alignment.head import AlignmentHead, AlignmentOutput
from medgraph.alignment.heads.infonce import InfoNCEHead
from medgraph.config import ConfigError, ExperimentConfig, PhantomConfig, StageConfig, head_config, model_config, parse
from medgraph.evaluation.predictions import read_predictions
from medgraph.report.matches import read_matches
from medgraph.training.board import layout
from medgraph.training.logging import read_metrics
from medgraph.training.module import StageModule
from medgraph.training.prepare import build_head
from medgraph.training.run import run


def small(root, *arguments):
    """A run of a few steps with every part in it."""
    config = ExperimentConfig(
        name="small",
        data=PhantomConfig(num_train=24, num_task=8, num_val=4, num_test=4, num_ood=4),
        model=model_config("tiny", weights="random"),
        alignment=head_config("exgra", edge_weight=0.1, edge_warmup=5),
        stage1=StageConfig(steps=2, batch_size=4),
        stage2=StageConfig(steps=7, batch_size=4, alpha=1.0, queue=6),
        stage3=StageConfig(steps=2, batch_size=4),
    )
    overrides = ("trainer.checkpoint_every=2", "trainer.log_every=1", "eval.limit=6", "trainer.accelerator=cpu")
    return parse(config, [f"run.root={root}", "run.name=r", *overrides, *arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run."""
    return run(small(tmp_path_factory.mktemp("finished")))


def losses(folder):
    return [
        {key: value for key, value in line.items() if not key.endswith(("_per_sec", "_seconds"))}
        for line in read_metrics(folder / "metrics.jsonl")
        if set(line) > {"stage", "stage_step", "step"}
    ]


def without_rates(folder):
    return [line for line in losses(folder) if len(line) > 3]


def test_a_run_leaves_everything_a_report_needs(finished):
    folder = finished.folder
    files = "config.yaml environment.json data.json metrics.csv compute.json results.json samples.json report.html"
    for file in (*files.split(), "stage2/weights.safetensors", "stage2/head.safetensors", "tokenizer/tokenizer.json"):
        assert (folder / file).stat().st_size > 0, file
    predictions = read_predictions(folder / "predictions.jsonl")
    asked = [(p.split, p.control) for p in predictions]
    for split in ("test", "ood"):
        for control in ("none", "no_image", "majority", "nearest_question"):
            assert asked.count((split, control)) == 6
    assert json.loads((folder / "data.json").read_text())["leaks"].startswith("No leak between splits; 44 images")
    compute = json.loads((folder / "compute.json").read_text())
    assert [compute[stage]["steps"] for stage in ("stage1", "stage2", "stage3")] == [2, 7, 2]
    assert compute["stage2"]["images"] == 28
    assert not list(folder.glob("stage*/*.ckpt"))


def test_steps_count_over_all_stages(finished):
    steps = [line["step"] for line in read_metrics(finished.folder / "metrics.jsonl") if "train/loss" in line]
    assert steps == list(range(1, 12))
    stage2 = [line for line in losses(finished.folder) if line["stage"] == "stage2" and "train/loss" in line]
    for line in stage2:
        assert line["train/loss"] == pytest.approx(line["train/lm"] + line["train/align"], rel=1e-5)


def test_alignment_is_diagnosed_in_every_step_and_drawn(finished):
    stage2 = [line for line in losses(finished.folder) if line["stage"] == "stage2" and "train/align" in line]
    assert len(stage2) == 7
    terms = ["unmatched", "solver_gap", "match_accuracy", *(f"grad_norm/{n}" for n in ("image", "answer", "extended"))]
    for line in stage2:
        assert all(math.isfinite(line[f"train/align/{term}"]) for term in terms)
        assert line["train/align/grad_norm/image"] > 0
    assert any("train/align/solver_seconds" in line for line in read_metrics(finished.folder / "metrics.jsonl"))
    first, last = read_matches(finished.folder / "matches.json")["stage2"]
    assert (first.name, last.name) == ("step 1", "step 7")
    assert first.table.shape == last.table.shape == (4, 4)  # without the queue
    assert all(first.groups)
    assert "Matches of images and texts" in (finished.folder / "report.html").read_text()


def test_tensorboard_has_charts_pictures_and_hyperparameters(finished):
    board = finished.folder / "tensorboard"
    events = EventAccumulator(str(board / "stage2"))
    events.Reload()
    tags = events.Tags()
    assert {"train/align/matches", "val/answers"} <= set(tags["images"])
    assert {"train/loss", "train/lr", "train/grad_norm", "train/align/match_accuracy"} <= set(tags["scalars"])
    assert {"custom_scalars__config__", "val/answers/text_summary"} <= set(tags["tensors"])
    logged = {key for line in read_metrics(finished.folder / "metrics.jsonl") for key in line if "/" in key}
    assert [tag for tag in logged if not layout([tag])] == []
    assert len(list((board / "result").iterdir())) == 1


def test_running_again_changes_nothing(finished, capsys):
    before = (finished.folder / "predictions.jsonl").read_bytes()
    again = run(parse(ExperimentConfig(), [f"config={finished.folder / 'config.yaml'}"]))
    assert again.folder == finished.folder
    assert (finished.folder / "predictions.jsonl").read_bytes() == before
    assert "finished before" in capsys.readouterr().out


@pytest.mark.parametrize("step", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (0, 4, 6))])
def test_an_interrupted_run_ends_as_the_uninterrupted_one_bit_for_bit(finished, tmp_path, monkeypatch, step):
    whole = StageModule.training_step
    config = small(tmp_path)

    def interrupted(self, batch, batch_idx):
        loss = whole(self, batch, batch_idx)
        if self.steps == 7 and self.global_step == step:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(StageModule, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(StageModule, "training_step", whole)
    resumed = run(config)
    assert without_rates(resumed.folder) == without_rates(finished.folder)
    for stage in ("stage1", "stage2", "stage3"):
        expected, found = (load_file(o.folder / stage / "weights.safetensors") for o in (finished, resumed))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (resumed.folder / "predictions.jsonl").read_bytes() == (finished.folder / "predictions.jsonl").read_bytes()


@pytest.mark.slow
def test_an_interrupted_validation_starts_again_from_its_first_question(finished, tmp_path, monkeypatch):
    whole = StageModule.validation_step
    config = small(tmp_path, "eval.batch_size=4", "trainer.checkpoint_every=3")  # three batches a validation

    def interrupted(self, batch, batch_idx):
        if self.steps == 7 and self.global_step == 4 and batch_idx == 2:
            raise KeyboardInterrupt
        return whole(self, batch, batch_idx)

    monkeypatch.setattr(StageModule, "validation_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    monkeypatch.setattr(StageModule, "validation_step", whole)
    assert without_rates(run(config).folder) == without_rates(finished.folder)


@pytest.mark.slow
def test_hardware_and_place_may_change_when_a_run_continues(finished, tmp_path):
    moved = shutil.move(finished.folder.parent.parent, tmp_path / "moved")
    try:
        again = run(small(moved, "trainer.num_workers=1", "trainer.threads=2"))
        assert again.results == finished.results
    finally:
        shutil.move(moved, finished.folder.parent.parent)


def test_other_packaged_weights_are_refused(finished, monkeypatch):
    monkeypatch.setattr("medgraph.training.trained.assets_hash", lambda config: "other")
    with pytest.raises(ConfigError, match=r"packaged weights: None -> other"):
        run(small(finished.folder.parent.parent))


def test_too_few_images_for_a_batch_are_refused_before_anything_trains(tmp_path):
    with pytest.raises(ConfigError, match=r"stage3\.batch_size=16: 8 images do not fill one batch"):
        run(small(tmp_path, "stage3.batch_size=16", "stage3.epochs=2", "stage3.steps=null"))
    assert not list(tmp_path.glob("**/weights.safetensors"))


def test_answers_that_would_be_cut_off_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"eval\.max_new_tokens=1: the answer of record phantom\S+ has \d+ tokens"):
        run(small(tmp_path, "eval.max_new_tokens=1"))


def test_a_batch_of_one_trains(tmp_path):
    batch = ("stage2.batch_size=1", "stage2.steps=2", "stage2.queue=0")
    outcome = run(small(tmp_path, *batch, "stage1.steps=0", "stage3.steps=0"))
    assert [line["train/align"] for line in losses(outcome.folder) if "train/align" in line] == [0.0, 0.0]


def test_another_configuration_in_the_same_folder_is_refused(finished):
    with pytest.raises(ConfigError, match=r"was started differently: seed: 0 -> 5"):
        run(small(finished.folder.parent.parent, "seed=5"))


def test_a_head_without_weight_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no effect while every alpha is 0"):
        run(small(tmp_path, "alignment=none", "stage2.alpha=0", "stage2.queue=0"), alignment=InfoNCEHead())


def test_a_head_of_ones_own_needs_no_registration(tmp_path):
    class Centroid(AlignmentHead):
        def __init__(self, weight: float = 2.0) -> None:
            super().__init__()
            self.weight = weight

        def setup(self, dim):
            self.scale = torch.nn.Parameter(torch.ones(dim))

        def forward(self, nodes):
            gap = nodes.image.pooled.mean(0) - nodes.texts["answer"].pooled.mean(0)
            return AlignmentOutput(self.weight * (self.scale * gap).square().sum(), {"gap": gap.norm().detach()})

    stages = ("stage1.steps=0", "stage2.queue=0", "stage3.steps=0")
    outcome = run(small(tmp_path, *stages), alignment=Centroid(weight=0.5))
    assert "weight: 0.5" in (outcome.folder / "config.yaml").read_text()
    assert any("train/align/gap" in line for line in losses(outcome.folder))


def test_a_loss_that_is_not_finite_names_the_term_and_the_records(tmp_path):
    class Broken(AlignmentHead):
        def forward(self, nodes):
            return AlignmentOutput(nodes.image.pooled.sum() * float("nan"))

    with pytest.raises(FloatingPointError, match=r"train/align is not finite for records .*phantom"):
        run(small(tmp_path, "stage1.steps=0", "stage2.queue=0"), alignment=Broken())


def test_a_bad_head_option_is_one_clear_line():
    with pytest.raises(ConfigError, match="alignment"):
        build_head(head_config("exgra", k=0))
