"""The folder of a run: who may write to it, what was computed there, from which data."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medgraph.config import ConfigError, ExperimentConfig, identity, to_dict, to_yaml
from medgraph.files import replacing
from medgraph.training.environment import environment


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two processes never write one run.

    Raises:
        ConfigError: if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder} is in use by another process; wait for it or choose run.name=…") from error
        yield


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(file, json.dumps(content, indent=1) + "\n")


def write_identity(config: ExperimentConfig, folder: Path) -> None:
    """Save configuration and environment, or refuse to continue a run that computes something else.

    Raises:
        ConfigError: naming the keys that differ.
    """
    file = folder / "config.yaml"
    if not file.exists():
        write_json(folder / "environment.json", environment())
        write_text(file, to_yaml(config))
        return
    saved: Any = OmegaConf.to_container(OmegaConf.load(file))
    old = dict(_flat(identity(saved)))
    new = dict(_flat(identity(to_dict(config))))
    changed = [f"{key}={new.get(key)} (was {old.get(key)})" for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        raise ConfigError(f"{folder} belongs to another configuration, different in {', '.join(changed[:5])}; choose "
                          "another run.name or remove the folder")  # fmt: skip


def write_data_identity(folder: Path, content: dict[str, Any]) -> None:
    """Save what a run was made of besides its configuration, or refuse to continue with something else.

    Args:
        folder: of the run.
        content: plain values; ``fingerprint`` (of the corpus) and ``weights`` (of the packaged model) must not change.

    Raises:
        ConfigError: if the run was started on other data or other packaged weights.
    """
    file = folder / "data.json"
    if not file.exists():
        write_json(file, content)
        return
    old = json.loads(file.read_text(encoding="utf-8"))
    for key, what in (("fingerprint", "data"), ("weights", "packaged weights")):
        if old[key] != content[key]:
            raise ConfigError(f"{folder} was started with {what} {old[key]}, now it is {content[key]}: restore it or "
                              "choose run.name=…")  # fmt: skip


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
