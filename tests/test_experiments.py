"""Every experiment file runs, shrunk, through the same entry point as on the command line."""

import runpy
import sys
from pathlib import Path

import pytest

from medgraph.config import validate
from medgraph.evaluation.results import Results

FOLDER = Path(__file__).parents[1] / "experiments"
STUDIES = ("data_efficiency", "pretrain_tiny")
RUNS = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in STUDIES)
SHRINK = (
    "data.num_train=80", "data.num_task=8", "data.num_val=2", "data.num_test=4", "data.num_ood=4", "eval.limit=4",
    "stage1.steps=1", "stage2.steps=2", "stage3.steps=1", "stage1.batch_size=4", "stage2.batch_size=4",
    "stage3.batch_size=4", "trainer.accelerator=cpu",
)  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_runs_as_it_stands(name, tmp_path, capsys):
    module = runpy.run_path(str(FOLDER / f"{name}.py"))
    config = module["config"]()
    validate(config)
    assert config.name == name
    assert f"experiments/{name}.py" in module["__doc__"]
    outcome = module["main"]([*SHRINK, f"run.root={tmp_path}"])
    assert isinstance(outcome.results, Results)
    assert outcome.results.splits == ["test", "ood"]
    assert "In distribution" in capsys.readouterr().out


def test_the_arms_of_data_efficiency_are_experiments_and_differ_in_one_thing_each():
    plan = runpy.run_path(str(FOLDER / "data_efficiency.py"))["plan"]()
    names = [arm.name for arm in plan.arms]
    assert {plan.reference, plan.full_data} <= set(names)
    configs = {arm.name: runpy.run_path(str(arm.file))["config"]() for arm in plan.arms}
    assert {name for name, config in configs.items() if config.data.fraction == 1} == {
        "llava_med_100pct",
        "llava_med_100pct_long",
    }
    assert all(config.seed == 0 and config.model.name == "tiny" for config in configs.values())


def test_an_experiment_refuses_a_typo_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["exgra_10pct.py", "aligment.k=3"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(FOLDER / "exgra_10pct.py"), run_name="__main__")
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert "alignment.k" in message
    assert len(message.strip().splitlines()) == 1


def test_pretraining_writes_weights_that_the_tiny_preset_loads(tmp_path, monkeypatch):
    import medgraph.models.build as build
    from medgraph.config import model_config

    script = runpy.run_path(str(FOLDER / "pretrain_tiny.py"))
    monkeypatch.setattr(sys, "argv", ["pretrain_tiny.py", "--out", str(tmp_path), "--steps", "2", "--images", "8"])
    script["main"]()
    monkeypatch.setattr(build, "assets", lambda: tmp_path)
    vlm = build.build_model(model_config("tiny"), ["what organ is shown?"])
    assert vlm.llm.get_input_embeddings().weight.shape[0] == len(vlm.tokenizer)
