import dataclasses
import json

import pytest
from rich.console import Console

from medgraph.cg.execute import run_plan, unfinished
from medgraph.cg.experiments import CONDITIONS
from medgraph.cg.plan import Plan, arguments, describe, make_plan
from medgraph.cg.starts import base_config
from medgraph.config import ConfigError, parse
from medgraph.data import build_corpus

SOURCE = {"name": "phantom", "num_train": 600, "num_val": 20, "num_modalities": 2, "num_areas": 2}
TARGET, LEVEL, FINDING = "x-ray/lung/finding", "x-ray/lung/level", "ct/brain/finding"
SHORT = ("stage1.steps=1", "stage2.steps=2", "trainer.accelerator=cpu")


def plan(**changes):
    options = {"targets": [TARGET], "related": [LEVEL, FINDING], "conditions": CONDITIONS, "seeds": 2, "images": 20,
               "overrides": SHORT}  # fmt: skip
    return make_plan([SOURCE], **{**options, **changes})


@pytest.fixture(scope="module")
def made():
    return plan()


def test_a_plan_knows_every_run_before_it_starts(made, tmp_path):
    rows = list(describe(made))
    assert len(made.cells) == 2 * len(rows)
    related = next(runs for _, _, arm, runs in rows if arm.name == "related")
    assert [(run.counts, run.steps, run.batch_sizes, run.seed) for run in related] == [
        ({LEVEL: 10, FINDING: 10}, (1, 2), (20, 20), 0),
        ({LEVEL: 10, FINDING: 10}, (1, 2), (20, 20), 1),
    ]
    nothing = next(runs for _, _, arm, runs in rows if arm.name == "zero_shot")
    assert nothing[0].steps == (0, 0)
    made.save(tmp_path)
    assert Plan.load(tmp_path) == made
    assert unfinished(tmp_path, made) == list(made.runs)


def test_the_arguments_of_a_run_make_its_data(made):
    run = next(runs[1] for _, _, arm, runs in describe(made) if arm.name == "label_shuffled")
    config = parse(base_config(), arguments(made, run))
    corpus = build_corpus(config.data)
    assert len({record.image_id for record in corpus.splits["train"]}) <= 20
    assert {record.subset for record in corpus.splits["train"]} == {LEVEL, FINDING}
    assert {record.subset for record in corpus.splits["ood"]} == {TARGET}
    assert (config.seed, config.data.labels, config.stage2.steps) == (1, "shuffled", 2)


def test_experiments_share_their_runs(made):
    both = plan(related=(), directions=["fixed_task", "fixed_modality"], limit=1, conditions=["zero_shot", "target"])
    zero = {runs[0].key for _, _, arm, runs in describe(both) if arm.name == "zero_shot"}
    assert len(both.experiments) == 2
    assert len(zero) == 1
    assert len(both.runs) < len(both.cells)


def test_keys_name_everything_that_changes_a_run(made):
    keys = set(made.runs)
    assert keys == set(plan().runs)
    assert keys < set(plan(seeds=3).runs)
    for changes in ({"overrides": (*SHORT, "stage2.lr=1e-4")}, {"images": 18}, {"backbones": {"x": ["model.pool=2"]}}):
        other = {key for key, run in plan(**changes).runs.items() if run.counts and TARGET not in run.counts}
        assert not other & keys


def test_a_plan_that_was_edited_or_would_lose_runs_is_refused(made, tmp_path):
    made.save(tmp_path)
    content = json.loads((tmp_path / "plan.json").read_text())
    key = next(iter(content["runs"]))
    content["runs"][key]["steps"] = [5, 5]
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=f"run {key} was edited; change the arguments of medgraph cg plan"):
        Plan.load(tmp_path)
    made.save(tmp_path)
    fewer = dataclasses.replace(made, runs={k: run for k, run in made.runs.items() if k != key})
    fewer.save(tmp_path)  # nothing has started
    made.save(tmp_path)
    (tmp_path / "runs" / key).mkdir(parents=True)
    with pytest.raises(ConfigError, match="leaves out 1 runs that have started"):
        fewer.save(tmp_path)
    assert Plan.load(tmp_path) == made
    with pytest.raises(ConfigError, match=r"has no plan\.json; make one with medgraph cg plan"):
        Plan.load(tmp_path / "runs")


def stored(folder):
    """``plan.json``, and the configuration in it."""
    content = json.loads((folder / "plan.json").read_text())
    (start,) = content["starts"]
    return content, start["config"]


def test_a_plan_from_before_an_option_was_there_is_run_and_made_longer(made, tmp_path):
    made.save(tmp_path)
    content, config = stored(tmp_path)
    del config["model"]["pool"]
    (tmp_path / "plan.json").write_text(json.dumps(content))
    (tmp_path / "runs" / next(iter(made.runs))).mkdir(parents=True)
    assert Plan.load_to_run(tmp_path).runs == made.runs
    plan(seeds=3).save(tmp_path)
    assert Plan.load(tmp_path).runs.keys() > made.runs.keys()
    assert "pool" in stored(tmp_path)[1]["model"]


def test_a_plan_with_other_defaults_says_which_and_can_still_be_read(made, tmp_path):
    made.save(tmp_path)
    content, config = stored(tmp_path)
    config["stage2"]["lr"], config["model"]["glue"] = 0.5, "yes"
    (tmp_path / "plan.json").write_text(json.dumps(content))
    message = (r"plan\.json: since it was planned, model\.glue was yes, is no option any more; stage2\.lr was 0\.5, is "
               r"[\d.e-]+\. .*with another folder, or use the version that planned this one")  # fmt: skip
    assert Plan.load(tmp_path).runs == made.runs
    with pytest.raises(ConfigError, match=message):
        run_plan(tmp_path, 1, Console())
    (tmp_path / "runs" / next(iter(made.runs))).mkdir(parents=True)
    with pytest.raises(ConfigError, match=message):
        made.save(tmp_path)


def test_a_plan_with_other_weights_or_another_layout_says_so(made, tmp_path, monkeypatch):
    made.save(tmp_path)
    monkeypatch.setattr("medgraph.cg.starts.assets_hash", lambda model: "0123")
    with pytest.raises(ConfigError, match=r"since it was planned, weights were \w+, are 0123\. "):
        Plan.load_to_run(tmp_path)
    content, _ = stored(tmp_path)
    del content["starts"]
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(
        ConfigError, match=r"another version of MedGraph wrote it, with other contents \('starts'\); use"
    ):
        Plan.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ["table"]}, "kind 'table' is unknown; known: combination, "),
        ({"conditions": ["none"]}, "condition 'none' is unknown"),
        ({"targets": ["CT"]}, "subset 'CT': "),
        ({"targets": []}, "name one target to combine them for"),
        ({"seeds": 0}, "expected at least 1"),
        ({"overrides": ["stage2.stepz=1"]}, "unknown key"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(changes, message):
    with pytest.raises(ConfigError) as error:
        plan(**changes)
    assert message in str(error.value)


@pytest.mark.slow
def test_a_plan_runs_and_skips_what_is_done(tmp_path, capsys):
    small = plan(seeds=1, conditions=["zero_shot", "target"])
    small.save(tmp_path)
    for expected in ("3 runs, 0 finished before", "3 runs, 3 finished before"):
        run_plan(tmp_path, 2, Console(width=200))
        assert expected in capsys.readouterr().out
    assert unfinished(tmp_path, small) == []
