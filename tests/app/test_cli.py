from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lightning_app
from medgraph import cli


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        ("run x.py", True),
        ("run a/b.py seed=1 --devices 3", True),
        ("run x.py --help", True),
        ("run", False),
        ("run x", False),
        ("run model x.py", False),
        ("run app x.py", False),
        ("run job --help", False),
        ("run --cloud x.py", False),
        ("x.py", False),
        ("--version", False),
        ("fit x.py", False),
        ("", False),
    ],
)
def test_lightning_owns_exactly_run_file(arguments, ours):
    assert cli.is_ours(arguments.split()) is ours


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with a `lightning` command on the path; it prints its name and what it gets, and returns 7."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str) -> None:
        module = f"fake_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(
            f"def main():\n    import sys\n    print('{name}', sys.argv)\n    return 7\n"
        )
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[console_scripts]\nlightning = {module}:main\n")

    return install


def lightning(monkeypatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["/bin/lightning", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.lightning()
    return end.value.code


def test_everything_else_is_forwarded_untouched(install, monkeypatch, capsys):
    install("some-tool")
    install("lightning-sdk")
    arguments = ["run", "job", "--name=a b", "-x", "model.py", ""]
    assert lightning(monkeypatch, *arguments) == 7
    assert capsys.readouterr().out == f"lightning-sdk {['/bin/lightning', *arguments]}\n"


def test_any_other_provider_is_better_than_none(install, monkeypatch, capsys):
    install("litserve")
    install("some-tool")
    assert lightning(monkeypatch) == 7
    assert capsys.readouterr().out.startswith("some-tool")


@pytest.mark.parametrize("with_litserve", [False, True])
def test_without_a_provider_there_is_usage_and_an_exit_code(install, monkeypatch, capsys, with_litserve):
    if with_litserve:  # its command installs packages without asking
        install("litserve")
    assert lightning(monkeypatch, "--version") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: lightning run FILE.py [key=value …]" in captured.err


def test_providers_are_the_others(install):
    install("litserve")
    install("lightning-sdk")
    assert [cli.distribution(point) for point in cli.other_providers()] == ["lightning-sdk", "litserve"]


def test_another_lightning_app_is_refused(monkeypatch):
    monkeypatch.delattr(lightning_app, "__medgraph__")
    with pytest.raises(SystemExit, match="is not MedGraph's lightning_app; remove the other"):
        cli.main()


# start-up


HELP = """
import sys
sys.argv = ["medgraph", "--help"]
from medgraph.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def imported(code: str) -> tuple[set[str], str]:
    """Which packages outside the standard library the code imports, and what it prints."""
    code += "\nimport sys\npackages = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names"
    code += "\nprint(*packages, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split()), done.stdout


def test_help_imports_nothing_but_typer_and_ourselves():
    packages, shown = imported(HELP)
    assert packages - imported("import typer")[0] == {"lightning_app", "medgraph"}
    assert "doctor" in shown


# the same command in all its spellings


SCRIPT = """
import json, os, sys
import neighbour
print(json.dumps([sys.argv, sys.path[0], __name__, __spec__ is None, __file__, os.getcwd(), neighbour.value,
                  sys.modules["__main__"].__dict__ is globals()]))
sys.exit(5)
"""


@pytest.fixture
def script(tmp_path) -> Path:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "neighbour.py").write_text("value = 3\n")
    path = tmp_path / "experiments" / "x.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "from medgraph.cli import main; main()", "run"],
        ["-c", "from medgraph.cli import lightning; lightning()", "run"],
        ["-m", "lightning_app", "run"],
    ],
    ids=["medgraph", "lightning", "python -m lightning_app"],
)
def test_run_is_what_python_would_do(script, command):
    arguments = ["a.b=1", "--devices", "3", "--help", "-x", "c = d"]

    def execute(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words, *arguments], capture_output=True, text=True, cwd=script.parent.parent, check=False
        )

    expected, found = execute(str(script)), execute(*command, "experiments/x.py")
    assert expected.returncode == 5
    assert '"--devices", "3", "--help", "-x", "c = d"' in expected.stdout
    assert (found.stdout, found.stderr, found.returncode) == (expected.stdout, expected.stderr, 5)
