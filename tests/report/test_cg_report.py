import csv
import json

import numpy as np
import pytest
from rich.console import Console

from medgraph.cg.experiments import Arm, Experiment
from medgraph.cg.outcomes import Outcome
from medgraph.cg.plan import Plan, PlannedRun
from medgraph.evaluation.effects import Scores
from medgraph.report.cg_combinations import judged, rates
from medgraph.report.cg_elements import ALONE, LEFT_OUT, ONLY, contributions
from medgraph.report.cg_page import terminal, write_cg_report
from medgraph.report.cg_study import CgStudy

TRIPLETS = {
    "subset-03": "CT/Lung/covid", "subset-05": "CT/Brain/state", "subset-28": "X-ray/Lung/covid",
    "subset-26": "X-ray/Bones/state", "subset-32": "X-ray/Brain/cancer", "mr/knee/side": "MR/Knee/side",
}  # fmt: skip
QUESTIONS = 120
RATES = {"related": 0.75, "target": 0.9, "only_modality": 0.6, "multi_task": 0.8, "all_related": 0.75,
         "without_task": 0.5, "without_random for task": 0.7}  # fmt: skip


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("medgraph.evaluation.effects.RESAMPLES", 300)


def scores(rate: float, name: str, seeds: int = 3) -> Scores:
    """Answers that are right with some probability; other names, other answers."""
    points = np.random.default_rng([*name.encode()]).random((seeds, QUESTIONS)) < rate
    ids = tuple(f"q{i}" for i in range(QUESTIONS))
    return Scores(points.astype(float), ids, tuple(f"i{i // 2}" for i in range(QUESTIONS)))


def combination(target: str, related: tuple[str, ...], direction: str = "fixed_task") -> Experiment:
    others = ("baseline_plus", "label_shuffled", "placebo", "only_modality", "only_area", "only_task")
    alone = [Arm(f"alone {key}", (key,), 30) for key in related]
    arms = (Arm("zero_shot"), Arm("related", related, 60), *alone, *(Arm(name, related, 60) for name in others),
            Arm("target", target_images=60))  # fmt: skip
    leak = "a related subset equals the target at the parent level"
    return Experiment("combination", target, arms, related, direction, (leak,))


def break_up(target: str) -> Experiment:
    names = ("all_related", "all_unrelated", "without_task", "without_random for task")
    return Experiment("break", target, tuple(Arm(name, ("subset-05",), 60) for name in names))


def low_data(target: str) -> Experiment:
    arms = [Arm(f"{base} + {n} target", (base,), 60, target_images=n) for base in ("related", "unrelated")
            for n in (0, 20, 50)]  # fmt: skip
    return Experiment("low_data", target, (Arm("zero_shot"), *arms, *(Arm(f"{n} target", target_images=n)
                                                                       for n in (20, 50))))  # fmt: skip


EXPERIMENTS = (
    combination("subset-28", ("subset-26", "subset-03")),
    combination("subset-05", ("subset-32", "subset-03"), "fixed_area"),
    break_up("subset-03"),
    break_up("subset-28"),
    low_data("subset-28"),
    Experiment("scale", "mr/knee/side", tuple(Arm(f"{n} {base}", ("subset-05",), n)
                                              for base in ("related", "unrelated") for n in (50, 100))),
    Experiment("multi_task", "subset-32", tuple(map(Arm, ("zero_shot", "multi_task", "single_task",
                                                          "single_task, as many steps")))),
    Experiment("unheard of", "subset-32", tuple(map(Arm, ("20 target", "related + 20 target", "something")))),
)  # fmt: skip


def study(folder, experiments=EXPERIMENTS, backbones=("",), unfinished=()) -> CgStudy:
    seeds = (0, 1, 2)
    cells = {"\t".join((experiment.name, backbone, arm.name, str(seed))): f"{i} {arm.name} {seed} {backbone}"
             for i, experiment in enumerate(experiments) for backbone in backbones
             for arm in experiment.arms for seed in seeds}  # fmt: skip
    runs = {key: PlannedRun(key, "t", {"s": 60}, "true", 0, (1, 1), (8, 8), ("stage2.steps=1",))
            for key in cells.values()}  # fmt: skip
    plan = Plan(({"name": "phantom"},), "0123", tuple(experiments), seeds, dict.fromkeys(backbones, ()), runs, cells,
                ("no images",), TRIPLETS)  # fmt: skip
    plan.save(folder)
    outcomes = []
    for experiment in experiments:
        for backbone in backbones:
            found = {arm.name: scores(RATES.get(arm.name, 0.5), f"{experiment.name} {arm.name} {backbone}")
                     for arm in experiment.arms if arm.name not in unfinished}  # fmt: skip
            waiting = tuple(arm.name for arm in experiment.arms if arm.name in unfinished)
            outcomes.append(Outcome(experiment, backbone, found, waiting))
    return CgStudy(folder, plan, outcomes, "likelihood", [key for key in runs if key.split(" ")[1] in unfinished])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgraph.evaluation.effects.RESAMPLES", 300)
        return write_cg_report(study(tmp_path_factory.mktemp("lung")))


def rows_of(written, name):
    file = written.page.parent / "tables" / f"{name}.csv"
    return list(csv.DictReader(line for line in file.read_text().splitlines() if not line.startswith("# ")))


def test_every_kind_has_tables_in_three_formats_and_in_numbers(written):
    expected = {"combinations", "verdicts", "averages", "chance", "elements", "low_data_curves", "scale_curves",
                *(f"{kind}_{what}" for kind in ("combination", "break", "multi_task", "unheard of")
                  for what in ("accuracy", "differences")), "low_data_differences", "scale_differences"}  # fmt: skip
    assert set(written.summary["tables"]) == expected
    folder = written.page.parent
    assert {file.name for file in (folder / "tables").iterdir()} == {
        f"{name}{suffix}" for name in expected for suffix in (".csv", ".md", ".tex")
    }
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(written.summary))


def test_table_three_shows_the_published_row_beside_ours(written):
    row = rows_of(written, "combinations")[1]
    assert (row["direction"], row["related subsets"]) == ("fixed task", "26 X-ray/Bones/state + 03 CT/Lung/covid")
    assert row["target"] == "28 X-ray/Lung/covid"
    assert (row["ticked"], row["published"]) == ("✓", "T3.27: 30 / 32 / 28 ✗")
    assert int(row["related"]) > int(row["Baseline+"])


def test_verdicts_have_tests_intervals_power_and_coverage(written):
    row = next(row for row in rows_of(written, "verdicts") if row["combination"].startswith("1 · "))
    assert row["helps"] == "yes"
    assert row["− Baseline+"].startswith("+")
    assert row["p, zero-shot"] == "<\u202f0.001"
    assert row["n"] == str(QUESTIONS)
    assert row["contains"] == "M AT"  # 26 shares the modality, 03 area and task; the tag "state" is not the fine task


def test_rows_whose_control_is_still_to_come_are_not_judged(tmp_path):
    waiting = study(tmp_path, unfinished=("baseline_plus",))
    assert judged(waiting) == []
    report = write_cg_report(waiting)
    assert "verdicts" not in report.summary["tables"]
    assert "1 · 28 X-ray/Lung/covid waits for Baseline+" in report.summary["waiting"][0]
    assert any("runs are not done" in warning for warning in report.summary["warnings"])


def test_arms_that_cannot_help_are_judged_like_the_related_ones(tmp_path):
    several = [combination("subset-28", ("subset-26", "subset-03"), d) for d in ("fixed_task", "fixed_area", "chosen")]
    one = study(tmp_path, several)
    found = rates(one, judged(one))
    assert {arm: pair[1].yes for arm, pair in found.items()} == {"related": 3, "placebo": 0, "label_shuffled": 0}
    assert all(pair[0].interval.low <= pair[0].yes / 3 <= pair[0].interval.high for pair in found.values())


def test_contributions_treat_targets_as_the_units(tmp_path):
    one = study(tmp_path)
    found = {(c.way, c.shared): c for c in contributions(one)}
    means = [outcome.scores["only_modality"].accuracy - outcome.scores["baseline_plus"].accuracy
             for outcome in one.of("combination")]  # fmt: skip
    pooled = found[ONLY, "modality"]
    assert (pooled.targets, pooled.mean) == (2, pytest.approx(np.mean(means)))
    half = 12.706 * np.std(means, ddof=1) / np.sqrt(2)  # Student's t with one degree of freedom
    assert pooled.interval.high == pytest.approx(pooled.mean + half, rel=1e-3)
    assert found[LEFT_OUT, "task"].mean > 0
    assert {shared for way, shared in found if way == ALONE} == {"modality", "area", "area+task"}


def test_break_compares_with_random_ones_left_out(written):
    rows = rows_of(written, "break_differences")
    row = next(row for row in rows if row["arm"] == "without task")
    assert row["− all related"].startswith("−")
    assert row["− random ones left out"].startswith("−")


def test_unknown_kinds_are_compared_with_the_same_number_of_target_images(written):
    rows = {row["arm"]: row for row in rows_of(written, "unheard of_differences")}
    assert rows["related + 20 target"]["− target alone"]
    assert rows["something"]["− target alone"] == ""


def test_the_page_is_whole_and_says_what_to_mind(written):
    text = written.page.read_text().replace("\u202f", " ")
    assert text.count("<svg") == 1 + 2 + 2 + 2 + 1 + 1 + 3
    assert "Training on related subsets helps in 2 of 2 combinations" in text
    assert "equals the target at the parent level: 1 · 28 X-ray/Lung/covid" in text
    assert "Left out: no images." in text
    assert "http" not in text.replace("http://www.w3.org", "").replace("https://www.w3.org", "")


def test_averages_over_rows_stand_beside_arms_that_cannot_help(written):
    averages = {(one["direction"], one["arm"], one["control"]): one
                for one in written.summary["tables"]["averages"]["rows"]}  # fmt: skip
    related = averages["all", "related", "baseline_plus"]
    rows = written.summary["tables"]["verdicts"]["rows"]
    effects = [effect["mean"] for row in rows for effect in row["effects"] if effect["control"] == "baseline_plus"]
    assert related["rows"] == len(effects) == 2
    assert related["mean"] == pytest.approx(sum(effects) / 2)
    assert related["interval"]["low"] > 0 > averages["all", "label_shuffled", "baseline_plus"]["interval"]["low"]
    assert "On average over the combinations, in points: +" in written.page.read_text()


def test_the_terminal_shows_the_verdict_and_the_table(written, capsys):
    Console(width=200).print(terminal(written))
    shown = capsys.readouterr().out
    assert "helps in 2 of 2 combinations" in shown
    assert "p, zero-shot" in shown


def test_backbones_stand_side_by_side(tmp_path):
    report = write_cg_report(study(tmp_path, EXPERIMENTS[:1], backbones=("tiny", "large")))
    (row,) = rows_of(report, "backbones")
    assert row["combination"].endswith("→ 28 X-ray/Lung/covid")
    assert "→" in row["tiny"]
    assert "→" in row["large"]


def test_experiments_without_a_finished_arm_are_no_obstacle(tmp_path):
    everything = {arm.name for arm in EXPERIMENTS[4].arms} - {"zero_shot"}
    names = {arm.name for one in EXPERIMENTS for arm in one.arms} - {"zero_shot"}
    report = write_cg_report(study(tmp_path, unfinished=tuple(names | everything)))
    assert report.summary["headline"][0].endswith("nothing can be compared yet.")
