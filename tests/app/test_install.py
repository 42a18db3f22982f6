"""The scripts in an environment of their own, beside another distribution that installs a `lightning` too."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FAKE = {
    "fake_sdk.py": "def main():\n    import sys\n    print('fake', sys.argv[1:])\n    return 7\n",
    "fake_sdk-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fake-sdk\nVersion: 1.0\n",
    "fake_sdk-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "fake_sdk-1.0.dist-info/entry_points.txt": "[console_scripts]\nlightning = fake_sdk:main\n",
    "fake_sdk-1.0.dist-info/RECORD": "",
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("medgraph-*.whl")
    return wheel


@pytest.fixture(scope="module")
def fake(tmp_path_factory) -> Path:
    wheel = tmp_path_factory.mktemp("dist") / "fake_sdk-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in FAKE.items():
            archive.writestr(name, text)
    return wheel


class Scratch:
    """A new environment that borrows the dependencies of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "env", with_pip=False)
        self.bin, self.folder = folder / "env" / "bin", folder
        (site,) = (folder / "env" / "lib").glob("python*/site-packages")
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (folder / "x.py").write_text("import sys\nprint('script', [sys.argv[0].rpartition('/')[2], *sys.argv[1:]])\n")

    def install(self, wheel: Path) -> None:
        options = ["--quiet", "--no-deps", "--no-index", "--force-reinstall"]
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", *options, str(wheel)]
        subprocess.run(command, check=True)

    def run(self, *command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.folder, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def scratch(tmp_path) -> Scratch:
    return Scratch(tmp_path)


RUN = ("run", "x.py", "a.b=1", "--devices", "3", "c = d")
RAN = (0, f"script {list(RUN[1:])}\n", "")


def test_alone(scratch, ours):
    scratch.install(ours)
    assert scratch.run("lightning", *RUN) == scratch.run("medgraph", *RUN) == RAN
    code, out, err = scratch.run("lightning", "run", "job")
    assert (code, out) == (2, "")
    assert err.startswith("usage: lightning run FILE.py")


def test_after_another_provider(scratch, ours, fake):
    scratch.install(fake)
    scratch.install(ours)
    assert scratch.run("lightning", *RUN) == RAN
    assert scratch.run("lightning", "run", "job", "--x=1", "a b") == (7, "fake ['run', 'job', '--x=1', 'a b']\n", "")


def test_before_another_provider(scratch, ours, fake):
    scratch.install(ours)
    scratch.install(fake)
    assert scratch.run("lightning", *RUN)[:2] == (7, f"fake {list(RUN)}\n")  # the last installation owns the script
    assert scratch.run("medgraph", *RUN) == RAN
    assert scratch.run("python", "-m", "lightning_app", *RUN) == RAN

    code, out, _ = scratch.run("medgraph", "doctor", "--json")
    (check,) = [check for check in json.loads(out) if check["name"] == "lightning script"]
    assert code == 1
    assert "also declared by fake-sdk" in check["found"]
    assert "install --force-reinstall --no-deps" in check["repair"]

    scratch.install(ours)  # what the repair does
    assert scratch.run("lightning", *RUN) == RAN
