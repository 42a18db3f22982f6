from __future__ import annotations

import json
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

from lightning_app import doctor
from lightning_app.tables import print_checks
from medgraph import cli


def test_requirements_that_fit_and_that_do_not():
    checks = doctor.check_requirements(
        ["numpy>=2.0", "pytest>=999", "no-such-package<3,>=2", "absent; extra == 'dev'", "absent; python_version < '3'"]
    )
    assert [(check.name, check.ok) for check in checks] == [
        ("numpy", True),
        ("pytest", False),
        ("no-such-package", False),
    ]
    assert checks[1].found == f"{version('pytest')} (needs >=999)"
    assert checks[1].repair == f"{sys.executable} -m pip install 'pytest>=999'"
    assert checks[2].found == "not installed"


def test_a_local_build_fits(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "2.13.0+cpu")
    assert doctor.check_requirements(["torch>=2.13"])[0].ok


@pytest.fixture
def scripts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    return tmp_path / "lightning"


@pytest.mark.parametrize(
    ("text", "ok", "found"),
    [
        ("from medgraph.cli import lightning", True, "MedGraph's, "),
        ("from lightning_sdk.cli.entrypoint import main_cli", False, "is not MedGraph's"),
        (None, False, "missing"),
    ],
)
def test_who_owns_the_lightning_script(scripts, monkeypatch, text, ok, found):
    if text is not None:
        scripts.write_text(f"#!/usr/bin/env python\n{text}\n")
        scripts.chmod(0o755)
    check = doctor.check_lightning_script()
    assert check.ok is ok
    assert found in check.found
    assert ok or check.repair == doctor.reinstall()


def test_other_distributions_that_declare_the_script_are_named(scripts, monkeypatch):
    monkeypatch.setattr(cli, "other_providers", lambda: ["a", "b"])
    monkeypatch.setattr(cli, "distribution", lambda point: f"dist-{point}")
    assert doctor.check_lightning_script().found == "missing; also declared by dist-a, dist-b"


def test_lightning_app(monkeypatch):
    assert doctor.check_lightning_app().ok
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"lightning_app": ["medgraph", "lightning_app"]})
    check = doctor.check_lightning_app()
    assert check.found == "also installed by lightning-app"
    assert check.repair == f"pip uninstall -y lightning-app; {doctor.reinstall()}"


def test_reinstall_names_what_was_installed(monkeypatch):
    def installed_from(url: dict[str, object] | None) -> str:
        text = None if url is None else json.dumps(url)
        monkeypatch.setattr(doctor, "_medgraph", lambda: type("D", (), {"read_text": lambda self, name: text})())
        return doctor.reinstall().partition("--force-reinstall --no-deps ")[2]

    assert installed_from({"url": "file:///src/x", "dir_info": {"editable": True}}) == "-e /src/x"
    assert installed_from({"url": "file:///src/x.whl"}) == "/src/x.whl"
    assert installed_from(None) == "medgraph"


def test_an_environment_without_pip_is_one_of_uv(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.reinstall().startswith(f"uv pip install --python {sys.executable} --force-reinstall")


def test_folders(tmp_path):
    assert doctor.check_folder("runs", tmp_path / "a" / "b", "repair").ok
    (tmp_path / "file").write_text("")
    check = doctor.check_folder("runs", tmp_path / "file", "repair")
    assert (check.found, check.repair) == (f"{tmp_path / 'file'} cannot be written to", "repair")


def test_torch_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not doctor.check_torch().ok


def test_doctor_command(monkeypatch, capsys):
    for arguments, checks, code in [
        (["--json"], [doctor.Check("a", "fine")], 0),
        (["--json"], [doctor.Check("a", "bad", "mend it")], 1),
        ([], [doctor.Check("a", "bad", "mend it")], 1),
    ]:
        monkeypatch.setattr(doctor, "examine", lambda checks=checks: checks)
        monkeypatch.setattr(sys, "argv", ["medgraph", "doctor", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out = capsys.readouterr().out
        assert (end.value.code or 0) == code
        if arguments:
            assert [row["ok"] for row in json.loads(out)] == [code == 0]
        else:
            assert "repair a: mend it" in out


def test_repairs_are_printed_on_one_line(capsys):
    command = "python -m pip install " + "x" * 300
    print_checks([doctor.Check("torch", "[0.1] (needs >=2)", command)])
    out = capsys.readouterr().out
    assert f"repair torch: {command}\n" in out
    assert "[0.1] (needs >=2)" in out


def test_this_environment_is_examined_completely():
    names = [check.name for check in doctor.examine()]
    assert {"python", "torch", "lightning", "lightning script", "lightning_app", "compute", "runs"} <= set(names)
