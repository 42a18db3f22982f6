"""Checks of the installation, each with the one line that repairs it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, packages_distributions, requires, version
from importlib.metadata import distribution as installed
from pathlib import Path

from packaging.requirements import Requirement

import lightning_app
from medgraph import cli


@dataclass(frozen=True, slots=True)
class Check:
    """One fact about the installation.

    Attributes:
        name: what was looked at.
        found: what is there.
        repair: command or advice that mends it; "" if nothing is wrong.
    """

    name: str
    found: str
    repair: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.repair


def examine() -> list[Check]:
    """Make all checks; imports torch."""
    return [
        check_python(),
        *check_requirements(requires("medgraph") or []),
        check_lightning_script(),
        check_lightning_app(),
        check_torch(),
        check_folder("runs", Path("runs"), "run in a folder you may write to, or set run.root=FOLDER"),
        check_folder("hugging face cache", _cache(), "export HF_HOME=FOLDER"),
    ]


def to_json(checks: Sequence[Check]) -> str:
    """The checks as a JSON list."""
    return json.dumps([{**dataclasses.asdict(check), "ok": check.ok} for check in checks], indent=1)


def check_python() -> Check:
    """The interpreter."""
    return Check("python", f"{platform.python_version()} at {sys.executable}")


def check_requirements(requirements: Sequence[str]) -> list[Check]:
    """Compare installed versions with what MedGraph declares; extras are left out.

    Args:
        requirements: lines such as ``torch>=2.13``, as in the distribution's metadata.
    """
    checks = []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        repair = f"{_pip()} '{requirement.name}{requirement.specifier}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            checks.append(Check(requirement.name, "not installed", repair))
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        checks.append(Check(requirement.name, f"{found} (needs {requirement.specifier})", "" if fits else repair))
    return checks


def check_lightning_script() -> Check:
    """Whose code the script ``lightning`` of this environment runs; the last installation wins."""
    others = ", ".join(cli.distribution(point) for point in cli.other_providers())
    declared = f"; also declared by {others}" if others else ""
    script = shutil.which("lightning", path=sysconfig.get_path("scripts"))
    if script is None:
        return Check("lightning script", f"missing{declared}", reinstall())
    if b"medgraph.cli" not in Path(script).read_bytes():
        return Check("lightning script", f"{script} is not MedGraph's{declared}", reinstall())
    return Check("lightning script", f"MedGraph's, {script}{declared}")


def check_lightning_app() -> Check:
    """Whether another distribution (the abandoned lightning-app) also installs a package ``lightning_app``."""
    owners = {name.lower().replace("_", "-") for name in packages_distributions().get("lightning_app", ())}
    if others := ", ".join(sorted(owners - {"medgraph"})):
        return Check("lightning_app", f"also installed by {others}", f"pip uninstall -y {others}; {reinstall()}")
    return Check("lightning_app", f"MedGraph's, {Path(str(lightning_app.__file__)).parent}")


def check_torch() -> Check:
    """Threads and accelerators, and whether torch can be imported at all."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("compute", f"torch cannot be imported: {error}", f"{_pip()} --force-reinstall torch")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    kind = ", ".join(gpus) or ("Apple GPU (mps)" if torch.backends.mps.is_available() else "no GPU")
    return Check("compute", f"{kind}; {torch.get_num_threads()} torch threads on {os.cpu_count()} cores")


def check_folder(name: str, folder: Path, repair: str) -> Check:
    """Whether a folder can be written to, or be created."""
    existing = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return Check(name, f"{folder.absolute()}")
    return Check(name, f"{folder.absolute()} cannot be written to", repair)


def reinstall() -> str:
    """The command that puts MedGraph's files, scripts included, back in place."""
    url = json.loads(_medgraph().read_text("direct_url.json") or "{}")
    source = url.get("url", "").removeprefix("file://")
    editable = url.get("dir_info", {}).get("editable", False)
    target = f"-e {source}" if editable else source or "medgraph"
    return f"{_pip()} --force-reinstall --no-deps {target}"


def _medgraph() -> Distribution:
    return installed("medgraph")


def _pip() -> str:
    """How this environment installs: pip, or uv where there is no pip."""
    has_pip = importlib.util.find_spec("pip") is not None
    return f"{sys.executable} -m pip install" if has_pip else f"uv pip install --python {sys.executable}"


def _cache() -> Path:
    return Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
