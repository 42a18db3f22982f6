import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from medgraph.evaluation.predictions import Prediction
from medgraph.evaluation.results import summarise
from medgraph.training.screening import Family, choose, save_choices
from medgraph.training.study import Arm, StudyPlan, run_study

ARM = Path("experiment.py")


def finished(folder: Path, right: int) -> Path:
    """A run directory whose model answers so many out of four validation questions."""
    lines = [
        Prediction(
            id=f"q{i}", image_id=f"i{i}", split="val", subset="s", triplet="CT/Lung/Cancer", question_type="finding",
            answer_type="open", prompt="?", answer="nodule", prediction="", score=float(i < right),
        )
        for i in range(4)
    ]  # fmt: skip
    folder.mkdir(parents=True)
    summarise(lines, resamples=10).save(folder / "results.json")
    return folder


def runs(tmp_path, **right):
    return {name: [finished(tmp_path / name / str(seed), n) for seed, n in enumerate(ns)] for name, ns in right.items()}


def test_the_setting_with_the_best_mean_on_validation_joins_under_the_family_name(tmp_path):
    family = Family("exgra", [Arm("plain", ARM), Arm("edges", ARM, ("alignment.edge_weight=0.1",))])
    choice, arm = choose(family, runs(tmp_path, plain=(4, 0), edges=(3, 2)))
    assert (choice.setting, choice.accuracies) == ("edges", {"plain": (1.0, 0.0), "edges": (0.75, 0.5)})
    assert arm == Arm("exgra", ARM, ("alignment.edge_weight=0.1",))
    assert choice.sentence == (
        "exgra: edges chosen on validation (accuracy in %, mean of 2 screening seed(s): plain 50.0, edges 62.5)."
    )
    save_choices([choice], tmp_path / "choices.json")
    saved = json.loads((tmp_path / "choices.json").read_text())
    assert saved == {"exgra": {"chosen": "edges", "val": {"plain": [1.0, 0.0], "edges": [0.75, 0.5]}}}


def test_of_equal_settings_the_first_is_chosen(tmp_path):
    family = Family("f", [Arm("first", ARM), Arm("second", ARM)])
    assert choose(family, runs(tmp_path, first=(2,), second=(2,)))[0].setting == "first"


@pytest.mark.slow
def test_a_study_screens_on_validation_with_seeds_of_its_own(tmp_path, tiny_arm):
    settings = [Arm("lr-high", tiny_arm), Arm("lr-low", tiny_arm, ("stage2.lr=1e-5",))]
    plan = StudyPlan(
        "study", "A study", [Arm("plain", tiny_arm)], reference="plain", families=[Family("tuned", settings)]
    )
    arguments = [f"run.root={tmp_path}", "run.name=s", "seeds=2", "screening_seeds=1"]
    study = run_study(plan, arguments, Console(file=io.StringIO(), width=200))
    assert [row.arm for row in study.rows["test"]] == ["plain", "tuned"]
    screened = tmp_path / "study" / "s" / "screening" / "lr-low" / "seed-1000"
    splits = {json.loads(line)["split"] for line in (screened / "predictions.jsonl").read_text().splitlines()}
    assert splits == {"val"}
    assert "chosen on validation" in (tmp_path / "study" / "s" / "report.html").read_text()
    later = replace(plan, arms=[*plan.arms, Arm("longer", tiny_arm, longer=1.5)])
    study = run_study(later, arguments, Console(file=io.StringIO(), width=200))
    assert study.compute["longer"].steps == 3  # one and a half times two
