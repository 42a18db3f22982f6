import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from medgraph.config import ConfigError
from medgraph.evaluation.results import Results
from medgraph.report.runs import find_runs, read_run_summary
from medgraph.report.runs_chosen import choose_runs
from medgraph.report.runs_compared import compare_runs
from medgraph.report.runs_tables import differences_as_json, render_differences, render_runs, runs_as_json

CONFIG = {
    "name": "exgra_10pct", "seed": 3, "alignment": {"name": "exgra", "k": 5},
    "stage1": {"steps": 100}, "stage2": {"steps": 300}, "stage3": {"steps": 0},
}  # fmt: skip
PROBES = [
    {"probe": probe, "n": 40, "figures": {"accuracy": {"value": value, "low": 0.1, "high": 0.9}}}
    for probe, value in (("knn", 0.5), ("linear", 0.6))
]


def text_of(content) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(content)
    return capture.get()


def make(folder: Path, config=CONFIG, **files: object) -> Path:
    """A run as it looks before its first step, and more files: text as it is, values as JSON."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    (folder / "environment.json").write_text(json.dumps({"git": "0123456789+dirty", "python": "3.11"}))
    for name, content in files.items():
        name = name.replace("_", ".")
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def line(step: int) -> str:
    return json.dumps({"stage": "stage2", "stage_step": step - 100, "step": step, "train/loss": 1.0})


def test_a_finished_run_with_its_result(run_dir, tmp_path):
    folder = tmp_path / "finished"
    shutil.copytree(run_dir, folder)
    run = read_run_summary(folder)
    overall = Results.load(folder / "results.json").get("test").overall
    assert (run.state, run.method, run.stage, run.steps, run.seconds) == ("finished", "", "", 399, 240)
    assert list(run.figures) == ["test", "ood"]
    assert run.main[1].value == overall.accuracy
    assert (run.main[1].low, run.main[1].high) == (overall.interval.low, overall.interval.high)


def test_an_interrupted_run_says_how_far_it_came(tmp_path):
    torn = f"{line(110)}\n{line(120)}\n{line(130)[:20]}"
    run = read_run_summary(make(tmp_path / "a", metrics_jsonl=torn))
    assert (run.state, run.method, run.stage, run.steps, run.planned) == ("interrupted", "exgra", "stage2", 120, 400)
    assert (run.seed, run.commit, run.main) == (3, "0123456789+dirty", None)


def test_a_pretraining(tmp_path):
    config = {"name": "lvm_med", "method": "lvm_med", "steps": 50, "seed": 0}
    run = read_run_summary(make(tmp_path / "a", config, results_json=PROBES))
    assert (run.state, run.method, run.planned) == ("finished", "lvm_med", 50)
    assert {name: figure.value for name, figure in run.figures.items()} == {"linear accuracy": 0.6, "knn accuracy": 0.5}


def test_a_run_of_another_kind_shows_its_figures(tmp_path):
    results = {"retrieval": {"recall_at_1": {"value": 0.2, "low": 0.1, "high": 0.3}}, "n": 10}
    run = read_run_summary(make(tmp_path / "a", {"tuning": "full"}, results_json=results))
    assert (run.state, run.method) == ("finished", "full")
    assert list(run.figures) == ["retrieval recall at 1"]


def test_a_failed_run_says_why(tmp_path):
    run = read_run_summary(make(tmp_path / "a", error_txt="FloatingPointError: train/loss is not finite\n"))
    assert (run.state, run.reason) == ("failed", "FloatingPointError: train/loss is not finite")
    assert "not finite" in text_of(render_runs([run], tmp_path))


def test_a_run_that_another_process_holds_is_running(tmp_path):
    folder = make(tmp_path / "a", error_txt="of an earlier attempt")
    script = (
        "import sys; from medgraph.files import hold; lock = open(sys.argv[1], 'w'); print(hold(lock), flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        assert read_run_summary(folder).state == "running"
        process.communicate("")
    assert read_run_summary(folder).state == "failed"


@pytest.mark.parametrize(
    ("config", "files", "reason"),
    [
        ("seed: [1", {}, "config.yaml: "),
        ("", {}, "config.yaml: missing or empty"),
        ("just text", {}, "config.yaml: expected keys with values, found str"),
        ("seed: \x00", {}, "config.yaml: "),
        (CONFIG, {"results_json": '{"format": 1, "entr'}, "results.json: "),
        (CONFIG, {"results_json": {"entries": [{"split": "test"}]}}, "results.json: not what this version writes (Key"),
        (CONFIG, {"results_json": [1, 2]}, "results.json: not what this version writes (AttributeError"),
        (CONFIG, {"compute_json": "[1"}, "compute.json: "),
        (CONFIG, {"environment_json": [1]}, "environment.json: expected keys with values, found list"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_listed_with_the_reason(config, files, reason, tmp_path):
    make(tmp_path / "runs" / "broken", config, **files)
    make(tmp_path / "runs" / "good")
    runs = {run.folder.name: run for run in find_runs(tmp_path / "runs")}
    assert runs["good"].state == "interrupted"
    assert runs["broken"].state == "broken"
    assert runs["broken"].reason.startswith(reason)
    shown = text_of(render_runs(list(runs.values()), tmp_path / "runs"))
    assert "2 runs: 1 interrupted, 1 broken" in shown
    assert f"broken: {reason}" in shown


def test_folders_that_are_no_runs_are_passed_and_those_inside_runs_not_entered(tmp_path):
    make(tmp_path / "study" / "arm" / "seed-0")
    make(tmp_path / "study" / "arm" / "seed-0" / "stage2")
    (tmp_path / "study" / "logs").mkdir()
    (tmp_path / "study" / "begun").mkdir()
    (tmp_path / "study" / "begun" / ".lock").touch()
    runs = {run.folder.relative_to(tmp_path).as_posix(): run.state for run in find_runs(tmp_path)}
    assert runs == {"study/arm/seed-0": "interrupted", "study/begun": "broken"}
    with pytest.raises(FileNotFoundError):
        find_runs(tmp_path / "nothing")


@pytest.fixture
def three(tmp_path):
    """Runs with 100, 200 and no steps, seeds 2, 1 and 0, the second one with a result."""
    make(tmp_path / "a", {**CONFIG, "seed": 2}, metrics_jsonl=line(100))
    make(tmp_path / "b", {**CONFIG, "seed": 1, "data": {"cache": None}}, metrics_jsonl=line(200), results_json=PROBES)
    make(tmp_path / "c", {**CONFIG, "seed": 0, "alignment": {"name": "none"}})
    return find_runs(tmp_path)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"sort": "seed"}, "cba"),
        ({"sort": "seed", "reverse": True}, "abc"),
        ({"sort": "steps"}, "bac"),
        ({"sort": "run"}, "abc"),
        ({"sort": "run", "where": ["alignment.name=ex*"]}, "ab"),
        ({"sort": "run", "where": ["alignment.name=exgra", "seed=1"]}, "b"),
        ({"where": ["data.cache=null"]}, "b"),
        ({"states": ["failed"]}, ""),
    ],
)
def test_filters_and_orders(three, options, names):
    assert "".join(run.folder.name for run in choose_runs(three, **options)) == names


def test_runs_without_a_value_come_last_either_way(three):
    assert [choose_runs(three, sort="result", reverse=reverse)[0].folder.name for reverse in (False, True)] == [
        "b",
        "b",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sort": "size"}, "--sort size: expected one of written, run"),
        ({"where": ["seed"]}, "--where seed: expected KEY=VALUE"),
        ({"where": ["alignmnt.name=x"]}, "no run has this key in its configuration; did you mean alignment.name"),
    ],
)
def test_mistakes_in_filters(three, options, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        choose_runs(three, **options)


def test_what_differs_and_nothing_else(tmp_path):
    a = make(tmp_path / "a", data_json={"fingerprint": "x", "records": {"train": 5}})
    b = make(tmp_path / "b", {**CONFIG, "seed": 4, "alignment": {"name": "none"}}, results_json=PROBES,
             environment_json={"git": "fedcba", "python": "3.11", "command": "run b"},
             data_json={"fingerprint": "x", "records": {"train": 6}})  # fmt: skip
    found = compare_runs([a, b])
    assert found.config == {"seed": [3, 4], "alignment.name": ["exgra", "none"], "alignment.k": [5, None]}
    assert found.data == {"records.train": [5, 6]}
    assert found.environment == {"git": ["0123456789+dirty", "fedcba"]}
    assert found.questions is None
    shown = text_of(render_differences(found))
    assert "60.0 (10.0–90.0)" in shown
    assert f"no predictions.jsonl in {a}, {b}" in " ".join(shown.split())


def test_runs_with_answers_are_compared_by_question(run_dir, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    found = compare_runs([run_dir, other])
    assert [run.versus and run.versus.mean for run in found.questions.splits["test"]] == [None, 0.0]
    assert found.config == {}
    shown = text_of(render_differences(found))
    assert "Configuration: the same" in shown
    assert "McNemar" in shown


def test_json_has_what_the_tables_have(run_dir, tmp_path):
    a = make(tmp_path / "a", results_json=PROBES)
    content = differences_as_json(compare_runs([a, run_dir]))
    json.dumps(content, allow_nan=False)
    assert content["figures"]["linear accuracy"] == [{"value": 0.6, "low": 0.1, "high": 0.9}, None]
    assert runs_as_json(find_runs(a))[0]["seconds"] is None


def test_comparisons_need_two_runs(tmp_path):
    a = make(tmp_path / "a")
    with pytest.raises(ConfigError, match="at least two runs, got 1"):
        compare_runs([a])
    with pytest.raises(ConfigError, match="is not the folder of a run: it has no config"):
        compare_runs([a, tmp_path])
