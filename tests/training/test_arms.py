import io
import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from rich.console import Console

from medgraph.config import ConfigError, run_dir
from medgraph.config.alone import AloneConfig
from medgraph.training.arms import ArmStudy, keep_last, run_arms


@dataclass
class Options(AloneConfig):
    name: str = "toys"
    gain: float = 0.0


def no_check(config: Options) -> None:
    """Everything makes sense."""


@pytest.fixture
def study():
    """A study whose runs say how good they are, and what has been run of it."""
    ran = []

    def run(config: Options, console: Console) -> SimpleNamespace:
        folder = run_dir(config)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.jsonl").write_text(json.dumps({"step": 1, "train/loss": 1 - config.gain}) + "\n")
        ran.append(f"{config.name} {config.seed}")
        values = {"accuracy": 0.5 + config.gain + 0.01 * config.seed, "never": float("nan")}
        return SimpleNamespace(folder=folder, results=SimpleNamespace(value=values.__getitem__))

    arms = {"base": (), "better": ("gain=0.2",), "best": ("gain=0.{seed}3",)}
    compared = [(name, name.capitalize(), "Measured.") for name in ("accuracy", "never")]
    curves = [("Loss", {"train/loss": "loss"})]
    return ArmStudy("Toys", Options(), arms, ("base", "better"), no_check, run, compared, curves, seeds=2), ran


def test_arms_run_seed_by_seed_and_are_compared_with_the_first(study, tmp_path):
    plan, ran = study
    printed = io.StringIO()
    (comparison,) = run_arms(plan, [f"run.root={tmp_path}", "run.name=x"], Console(file=printed, width=200))
    assert ran == ["base 0", "better 0", "base 1", "better 1"]
    assert comparison.name == "accuracy", "nothing was measured of the other figure"
    reference, better = comparison.rows
    assert reference.versus is None
    assert better.versus.mean == pytest.approx(0.2)
    folder = tmp_path / "toys" / "x"
    assert (folder / "better" / "seed-1" / "metrics.jsonl").exists()
    assert json.loads((folder / "comparison.json").read_text())["accuracy"]["base"] == [0.5, 0.51]
    assert (folder / "accuracy.csv").exists()
    assert "During training" in (folder / "report.html").read_text(encoding="utf-8")
    assert "report: " in printed.getvalue()


def test_the_reference_always_runs_and_an_arm_may_name_the_seed(study, tmp_path):
    plan, ran = study
    (comparison,) = run_arms(plan, ["arms=best", "seeds=1", f"run.root={tmp_path}"], Console(quiet=True))
    assert ran == ["base 0", "best 0"]
    assert comparison.rows[1].values == pytest.approx([0.5 + 0.03])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("arms=nothing", "arms=nothing: no such arm; known: base, better, best"),
        ("seeds=0", "seeds=0: expected at least 1"),
        ("seed=3", "use seeds=N"),
    ],
)
def test_arguments_are_checked_before_anything_runs(study, argument, message):
    plan, ran = study
    with pytest.raises(ConfigError, match=message):
        run_arms(plan, [argument])
    assert ran == []


def test_what_was_read_last_is_handed_out_again():
    read = keep_last(lambda *names: list(names))
    first = read("a", 1)
    assert read("a", 1) is first
    assert read("b", 1) == ["b", 1]
    assert read("a", 1) is not first
