"""Every experiment file runs, shrunk, through the same entry point as on the command line."""

import dataclasses
import runpy
import sys
from pathlib import Path

import pytest

from medgraph.config import ConfigError, validate
from medgraph.evaluation.results import Results
from medgraph.training import study
from medgraph.training.recipes import resolve

FOLDER = Path(__file__).parents[1] / "experiments"
STUDIES = (
    "ablations", "cg_validation", "contrast", "data_efficiency", "does_graph_alignment_help", "dude", "dvpt",
    "exgra_from_encoder", "lvm_med", "lvm_med_downstream", "mediaug", "pretrain_tiny",
)  # fmt: skip
NAMES = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in STUDIES)
FAST = ("exgra_10pct",)
RUNS = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
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


def test_the_arms_of_data_efficiency_differ_in_nothing_but_what_their_names_say():
    plan = runpy.run_path(str(FOLDER / "data_efficiency.py"))["plan"]()

    def differences(arm):
        config, base = (dataclasses.asdict(resolve(a.config(a.arguments(())))) for a in (arm, plan.arms[0]))
        changed = {"alignment"} if config["alignment"]["name"] != base["alignment"]["name"] else set()
        for group in ("data", "model", "stage1", "stage2", "stage3", "trainer", "eval"):
            changed |= {f"{group}.{key}" for key in base[group] if config[group][key] != base[group][key]}
        return changed | ({"seed"} if config["seed"] != base["seed"] else set())

    align = {"alignment", "stage2.alpha"}
    assert plan.reference == plan.arms[0].name == "llava_med_10pct_extended"
    assert {arm.name: differences(arm) for arm in plan.arms[1:]} == {
        "llava_med_10pct": {"stage2.extended_lm"},
        "infonce_10pct": {*align, "stage2.extended_lm"},
        "infonce_10pct_extended": align,
        "exgra_10pct": {*align, "stage2.extended_lm"},
        "llava_med_100pct": {"stage2.extended_lm", "data.fraction"},
        "llava_med_10pct_long": {"stage2.extended_lm", "stage2.steps"},
    }


def test_longer_arms_stay_longer_when_the_study_is_changed():
    plan = runpy.run_path(str(FOLDER / "data_efficiency.py"))["plan"]()
    long = next(arm for arm in plan.arms if arm.name == "llava_med_10pct_long")
    assert long.config(long.arguments(["stage2.steps=30"])).stage2.steps == 90


def test_all_arms_of_the_alignment_study_read_the_same_text_and_its_settings_differ_in_the_head_alone():
    plan = runpy.run_path(str(FOLDER / "does_graph_alignment_help.py"))["plan"]()
    assert [family.name for family in plan.families] == ["infonce", "soft_infonce", "structure", "exgra"]
    settings = [arm for family in plan.families for arm in family.settings]
    assert len({arm.name for arm in settings}) == len(settings)
    configs = [resolve(arm.config(arm.arguments(()))) for arm in (*plan.arms, *settings)]
    for config in configs:
        validate(config)
        assert config.stage2.extended_lm
        assert config.data == configs[0].data
    lm_extended, *others = configs
    assert lm_extended.stage2.steps == round(1.25 * others[0].stage2.steps)
    for config in others:
        assert dataclasses.replace(config, alignment=others[0].alignment) == others[0]


def test_every_ablation_changes_what_it_says_and_nothing_else():
    plan = runpy.run_path(str(FOLDER / "ablations.py"))["plan"]()
    base = plan.arms[0].config(())
    seen = set()
    for arm in plan.arms[1:]:
        config = arm.config(arm.arguments(()))
        validate(config)
        (override,) = arm.overrides
        group = override.partition(".")[0]
        assert dataclasses.replace(config, **{group: getattr(base, group)}) == base, arm.name
        assert getattr(config, group) != getattr(base, group), arm.name
        seen.add(override)
    assert len(seen) == len(plan.arms) - 1


def test_the_worlds_of_the_cg_validation_differ_in_nothing_but_the_interaction():
    module = runpy.run_path(str(FOLDER / "cg_validation.py"))
    options = {"seeds": 1, "workers": 1, "limit": 1, "images": 20}
    one, other = module["plans"](options, {"num_train": 600, "num_val": 10}, ["stage2.steps=2"]).values()
    assert [source["interaction"] for plan in (one, other) for source in plan.sources] == [0, 1]
    assert [e.name for e in one.experiments] == [e.name for e in other.experiments]
    assert {e.direction for e in one.experiments} == set(module["DIRECTIONS"])
    for here, there in zip(one.experiments, other.experiments, strict=True):
        assert [arm for arm in here.arms if arm.name not in ("placebo", "label_shuffled")] == list(there.arms)
    assert not one.runs.keys() & other.runs.keys()


def test_the_cg_validation_sorts_its_arguments():
    module = runpy.run_path(str(FOLDER / "cg_validation.py"))
    arguments = ["seeds=5", "--data.num_train=24000", "stage2.steps=600", "run.root=elsewhere", "images=1200"]
    assert module["_split"](arguments) == (
        module["OPTIONS"] | {"seeds": 5, "images": 1200}, {"num_train": "24000"}, ["stage2.steps=600"], "elsewhere"
    )  # fmt: skip
    for wrong in ("seeds=many", "workers", "data.num_train"):
        with pytest.raises(ConfigError, match=wrong):
            module["_split"]([wrong])


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


def test_towers_become_arms_paired_by_seed(tmp_path):
    module = runpy.run_path(str(FOLDER / "exgra_from_encoder.py"))
    for arm in ("byol", "random"):
        for seed in range(2):
            (tmp_path / arm / f"seed-{seed}" / "encoder").mkdir(parents=True)
    plan = module["plan"](tmp_path)
    assert [arm.name for arm in plan.arms] == ["byol", "random"]
    job = study._job(plan.arms[0], plan.arms[0].arguments(()), 1, tmp_path)
    assert f"model.vision={tmp_path}/byol/seed-1/encoder" in job.command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one encoders=FOLDER, found 0"),
        (["encoders=nowhere"], "encoders=nowhere: found no ARM/seed-0/encoder; expected the folder of a study"),
    ],
)
def test_towers_that_are_not_there_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        runpy.run_path(str(FOLDER / "exgra_from_encoder.py"))["main"](arguments)
    assert message in capsys.readouterr().err
