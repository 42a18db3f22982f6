"""The folder of a run: who may write to it, what was computed there, from which data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medgraph.config import ConfigError, identity, to_dict, to_yaml
from medgraph.config.errors import first_few
from medgraph.evaluation.plain import flat
from medgraph.files import ERROR_NOTE, LOCK, hold, write_json, write_text
from medgraph.training.environment import environment


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two processes never write one run. An error inside the block is noted in `ERROR_NOTE`.

    Raises:
        ConfigError: if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / ERROR_NOTE
    with (folder / LOCK).open("w") as lock:
        if not hold(lock):
            raise ConfigError(f"{folder} is in use by another process; wait for it or choose run.name=…")
        note.unlink(missing_ok=True)
        try:
            yield
        except Exception as error:
            with suppress(OSError):
                note.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            raise


def write_identity(config: Any, folder: Path) -> None:
    """Save configuration and environment, or refuse to continue a run that computes something else.

    Other code is refused as long as the run is not finished. What ``run.force`` lets pass is kept as ``forced`` in
    ``environment.json``.

    Raises:
        ConfigError: naming what differs.
    """
    file, now = folder / "config.yaml", environment()
    if not file.exists():
        write_json(folder / "environment.json", now)
        write_text(file, to_yaml(config))
        return
    saved: Any = OmegaConf.to_container(OmegaConf.load(file))
    changed = _changes(identity(saved), identity(to_dict(config)))
    if not (folder / "results.json").exists():
        before = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        changed += _changes(*({key: each.get(key) for key in ("code", "packages")} for each in (before, now)))
    if changed:
        _force(folder, changed, config.run.force, now)
        write_text(file, to_yaml(config))


def write_data_identity(folder: Path, content: dict[str, Any], force: bool = False) -> None:
    """Save what a run was made of besides its configuration, or refuse to continue with something else.

    Args:
        folder: of the run.
        content: plain values; ``fingerprint`` (of the corpus) and ``weights`` (of the packaged model) must not change.
        force: let changes pass; they are kept as ``forced`` in ``environment.json``.

    Raises:
        ConfigError: if the run was started on other data or other packaged weights.
    """
    file = folder / "data.json"
    if file.exists():
        old = json.loads(file.read_text(encoding="utf-8"))
        names = {"fingerprint": "data", "weights": "packaged weights"}
        changed = _changes(*({what: values[key] for key, what in names.items()} for values in (old, content)))
        if not changed:
            return
        _force(folder, changed, force)
    write_json(file, content)


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before, after = flat(old), flat(new)
    keys = {**before, **after}
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def _force(folder: Path, changed: list[str], force: bool, values: dict[str, Any] | None = None) -> None:
    """Refuse what has changed, or note it in ``environment.json``, together with the environment of now."""
    if not force:
        raise ConfigError(
            f"{folder} was started differently: {first_few(changed, separator='; ')}. Restore that, choose another "
            "run.name, or continue all the same with run.force=true; the report will say so"
        )
    file = folder / "environment.json"
    before = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {**before, **(values or {}), "forced": [*before.get("forced", ()), *changed]})
