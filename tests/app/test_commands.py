from __future__ import annotations

import sys

import pytest
import yaml

from medgraph import cli
from medgraph.config import ExperimentConfig, parse, run_dir
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


@pytest.fixture
def medgraph(monkeypatch, capsys):
    """Run a command; return exit code, standard output and standard error."""

    def medgraph(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["/bin/medgraph", *arguments])
        code: object = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code or 0, captured.out, captured.err

    return medgraph


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


def test_data_show(medgraph, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert medgraph("data", "show", "phantom", "--out", str(sheet), "--side", "32")[:2] == (0, f"{sheet}\n")
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_data_show_of_something_else(medgraph):
    code, _, err = medgraph("data", "show", "mnist")
    assert (code, err) == (2, "medgraph: error: data show mnist: only phantom has contact sheets\n")


def test_report_needs_a_finished_run(medgraph, tmp_path):
    code, _, err = medgraph("report", str(tmp_path))
    assert (code, err) == (
        2,
        f"medgraph: error: {tmp_path} is not the folder of a finished run: it has no results.json\n",
    )


def test_an_unknown_command(medgraph):
    code, _, err = medgraph("rnu")
    assert code == 2
    assert "Did you mean 'run'?" in err
