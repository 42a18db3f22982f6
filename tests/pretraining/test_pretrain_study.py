import runpy
from pathlib import Path

import numpy as np
import pytest

from medgraph.config import parse
from medgraph.evaluation.probes import Features
from medgraph.pretraining.options import check
from medgraph.pretraining.probing import effective_rank, quick_probes

FILE = Path(__file__).parents[2] / "experiments" / "lvm_med.py"


def test_collapse_shows_in_the_figures_and_so_does_what_features_know():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    groups = [str(i) for i in range(60)]
    useful = np.eye(3)[labels] + 0.1 * rng.normal(size=(60, 3))
    good, collapsed = (
        quick_probes(Features(x[:40], labels[:40], groups[:40]), Features(x[40:], labels[40:], groups[40:]))
        for x in (useful, np.ones((60, 3)) + 1e-3 * rng.normal(size=(60, 1)))
    )
    assert good["val/linear"] == good["val/knn"] == 1
    assert good["val/feature_sd"] > 0.5
    assert good["val/effective_rank"] > 2
    assert collapsed["val/feature_sd"] < 0.01
    assert collapsed["val/effective_rank"] < 1.5
    scale = np.diag([1.0, 1.0, 0.0])
    assert effective_rank(rng.normal(size=(500, 3)) @ scale) == pytest.approx(2, abs=0.05)


def test_every_arm_differs_from_lvm_med_in_what_its_name_says():
    plan = runpy.run_path(str(FILE))["plan"]()
    base = parse(plan.base, (), check)
    for name, overrides in plan.arms.items():
        config = parse(plan.base, overrides, check)
        changed = {key for key in vars(base) if getattr(base, key) != getattr(config, key)}
        assert changed <= {"method", "steps", "matching"}, name
        assert (changed == set()) == (name == "lvm_med"), name


@pytest.mark.slow
def test_the_experiment_compares_random_weights_with_lvm_med(tmp_path, capsys):
    main = runpy.run_path(str(FILE))["main"]
    arguments = [
        "arms=lvm_med", "seeds=2", "steps=2", "batch_size=16", "data.num_train=40", "data.num_val=12",
        "data.num_test=12", "data.num_findings=2", f"run.root={tmp_path}", "trainer.accelerator=cpu",
    ]  # fmt: skip
    linear, knn = main(arguments)
    assert [row.arm for row in linear.rows] == ["random", "lvm_med"]
    assert len(linear.rows[1].values) == 2
    assert "Accuracy of a linear probe" in capsys.readouterr().out
    (page,) = tmp_path.glob("lvm_med/*/report.html")
    assert "During training" in page.read_text()
    assert (page.parent / "linear.csv").exists()
    again = main(arguments)
    assert [row.values for each in again for row in each.rows] == [
        r.values for each in (linear, knn) for r in each.rows
    ]
