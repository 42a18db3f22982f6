from __future__ import annotations

import json

import pytest
import yaml

from medgraph.config import ExperimentConfig, parse, run_dir
from medgraph.evaluation.predictions import Prediction, PredictionWriter
from medgraph.training.recipes import resolve

EXPERIMENT = """
from medgraph.config import ExperimentConfig, PhantomConfig, parse
from medgraph.console import user_errors

def config():
    return ExperimentConfig(name="study", data=PhantomConfig(fraction=0.1))

if __name__ == "__main__":
    import sys
    with user_errors():
        print(parse(config(), sys.argv[1:]).seed)
"""


@pytest.fixture
def study(tmp_path, monkeypatch) -> str:
    (tmp_path / "study.py").write_text(EXPERIMENT)
    (tmp_path / "other.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    return "study.py"


def test_run(medgraph, study):
    assert medgraph("run", study, "seed=3") == (0, "3\n", "")


@pytest.mark.parametrize("command", ["run", "config"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study.py", "sed=3"], "study.py: error: sed=3: unknown key; did you mean 'seed'?"),
        (["study.py", "seed=x"], "study.py: error: seed=x: expected an integer"),
        (["stud.py"], "medgraph: error: stud.py: no such file; did you mean study.py?"),
        (["nothing-like-it.py"], "medgraph: error: nothing-like-it.py: no such file"),
        (["study"], "medgraph: error: study: expected a Python file (.py)"),
        (["."], "medgraph: error: .: expected a Python file (.py)"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(medgraph, study, command, arguments, message):
    assert medgraph(command, *arguments) == (2, "", f"{message}\n")


def test_config_prints_what_would_run_and_where(medgraph, study, tmp_path):
    code, out, _ = medgraph("config", study, "seed=3", "alignment=infonce", "--stage2.alpha=0.5")
    first, _, text = out.partition("\n")
    (tmp_path / "all.yaml").write_text(text)
    config = resolve(parse(ExperimentConfig(), [f"config={tmp_path / 'all.yaml'}"]))
    assert code == 0
    assert (config.seed, config.data.fraction, config.alignment.name, config.stage2.alpha) == (3, 0.1, "infonce", 0.5)
    assert first == f"# run directory: {run_dir(config)}"
    assert yaml.safe_load(text)["stage2"]["steps"] is not None


def test_config_of_a_file_that_is_no_experiment(medgraph, study):
    code, _, err = medgraph("config", "other.py")
    assert code == 2
    assert err == ("other.py: error: other.py is not an experiment: it has no function config() that returns an "
                   "ExperimentConfig\n")  # fmt: skip


def test_heads(medgraph):
    code, out, _ = medgraph("heads")
    assert code == 0
    assert all(name in out for name in ("exgra", "infonce", "none", "temperature=0.1"))


TRUTH = [
    {"id": i, "image": f"{i // 2}.png", "answer_type": kind, "conversations": [{"value": "?"}, {"value": answer}]}
    for i, (kind, answer) in enumerate([("CLOSED", "yes"), ("OPEN", "left lung"), ("CLOSED", "no"), ("OPEN", "mass")])
]


@pytest.fixture
def answers(tmp_path):
    """Write a file of answers to TRUTH and return it with the options that name the truth."""

    def answers(name: str, *texts: str) -> list[str]:
        (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
        lines = [json.dumps({"question_id": i, "text": text}) for i, text in enumerate(texts)]
        (tmp_path / name).write_text("\n".join(lines))
        return [str(tmp_path / name), "--gt", str(tmp_path / "gt.json")]

    return answers


def test_score_shows_every_protocol_with_its_size(medgraph, answers, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"0": ["left lung", "mass", 3]}))
    arguments = answers("a.jsonl", "Yes, there is", "the left lung", "no", "cyst")
    code, out, err = medgraph("score", *arguments, "--candidates", str(tmp_path / "c.json"))
    assert (code, err) == (0, "")
    for expected in ("test: 4 questions on 2 images", "exgra", "medevalkit_legacy", "all training answers"):
        assert expected in out


def test_score_as_json(medgraph, answers):
    code, out, _ = medgraph("score", *answers("a.jsonl", "yes", "lung", "no", "mass"), "--protocol", "strict", "--json")
    group, always_yes = json.loads(out)["groups"]
    assert code == 0
    assert (group["control"], always_yes["control"]) == ("none", "always_yes")
    assert group["protocols"]["strict"]["closed_accuracy"]["value"] == 100
    assert list(group["protocols"]) == ["strict"]


def test_score_counts_missing_answers_only_when_told(medgraph, answers):
    arguments = answers("a.jsonl", "yes", "left lung", "no")
    code, _, err = medgraph("score", *arguments)
    assert code == 2
    assert err.endswith("have no answer: 3; --allow-missing counts them as wrong\n")
    assert "1 questions without an answer, counted wrong" in medgraph("score", *arguments, "--allow-missing")[1]


def test_score_of_what_is_not_there(medgraph):
    assert medgraph("score", "nix.jsonl") == (2, "", "medgraph: error: nix.jsonl: no such file or directory\n")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--protocol", "exgr"], "medgraph: error: unknown protocol 'exgr'; known: strict, "),
        (["--candidates", "study.py"], "medgraph: error: "),
    ],
)
def test_mistakes_of_score_are_one_line(medgraph, study, answers, option, message):
    code, out, err = medgraph("score", *answers("a.jsonl", "yes", "left lung", "no", "mass"), *option)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message)


@pytest.fixture
def two_runs(tmp_path):
    """A run folder and a prediction file with one more right answer."""

    def prediction(number: int, right: bool) -> Prediction:
        return Prediction(
            id=str(number), image_id=str(number), split="ood", subset="s", triplet="CT/Lung/covid", question_type="q",
            answer_type="closed", prompt="?", answer="yes", prediction="yes" if right else "no", score=float(right),
        )  # fmt: skip

    folder = tmp_path / "run"
    folder.mkdir()
    for file, right in ((folder / "predictions.jsonl", 4), (tmp_path / "b.jsonl", 5)):
        with PredictionWriter(file) as writer:
            writer.write([prediction(i, i < right) for i in range(8)])
    return folder, tmp_path / "b.jsonl"


def test_compare_a_run_folder_with_a_file(medgraph, two_runs):
    code, out, err = medgraph("compare", *two_runs)
    assert (code, err) == (0, "")
    assert "+12.5" in out
    code, out, _ = medgraph("compare", *two_runs, "--json")
    first, second = json.loads(out)["ood"]["runs"]
    assert (first["accuracy"], second["accuracy"], second["versus"]["mean"]) == (0.5, 0.625, 0.125)


def test_compare_needs_two(medgraph, two_runs):
    assert medgraph("compare", two_runs[0]) == (2, "", "medgraph: error: compare needs at least two runs, got 1\n")


def test_report_needs_a_finished_run(medgraph, tmp_path):
    code, _, err = medgraph("report", str(tmp_path))
    assert (code, err) == (
        2,
        f"medgraph: error: {tmp_path} is not the folder of a finished run: it has no results.json\n",
    )


def test_report_leaves_the_page_of_a_pre_training_alone(medgraph, tmp_path):
    (tmp_path / "results.json").write_text('[{"probe": "knn"}]')
    code, _, err = medgraph("report", str(tmp_path))
    assert code == 2
    assert "holds no answers to questions" in err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("heads",), ("doctor",), ("data", "list"), ("data", "matrix"), ("cg", "list", "--target", 32), ("runs", "."),
        ("config", "study.py"), ("--help",), ("cg", "suggest", "--target", 32), ("data", "check", "."),
    ],
)  # fmt: skip
def test_a_pipe_gets_no_control_characters(medgraph, study, command):
    _, out, err = medgraph(*command)
    assert out
    assert {character for character in out + err if ord(character) < 32} <= {"\n"}


def test_an_unknown_command(medgraph):
    code, _, err = medgraph("rnu")
    assert code == 2
    assert "Did you mean 'run'?" in err
