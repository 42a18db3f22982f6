"""The runs below a folder, as far as their files tell; what is broken in one is said and stops nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

from medgraph.config.schema import STAGES
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.plain import flat, from_plain
from medgraph.evaluation.results import NO_CONTROL, Row
from medgraph.files import ERROR_NOTE, LOCK, is_held

State = Literal["finished", "running", "interrupted", "failed", "broken"]

_MARKS = ("config.yaml", LOCK)
"""One of these is in every folder that a run has begun to write."""
_METHODS = ("alignment.name", "method", "tuning")
"""What says how something was trained, by kind of run."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAIL = 1 << 16
"""Bytes at the end of ``metrics.jsonl`` in which the last whole line is looked for."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run.

    Attributes:
        folder: of the run.
        state: ``interrupted`` may be continued by the same command, ``failed`` once the cause is gone, ``broken`` has
            files that cannot be read.
        written: when anything in its folder was last written, ISO 8601 in UTC.
        method: alignment head, method of pre-training, or what is tuned.
        stage: the one it has reached; empty when finished.
        steps: optimiser steps so far, as logged.
        planned: optimiser steps in all; None where the configuration counts epochs.
        figures: shares with intervals by what was measured, a split or a probe; the main one first.
        seed: None where unknown.
        commit: git commit of the code, ``+dirty`` behind it with uncommitted changes.
        seconds: of training; NaN where not kept.
        reason: why it failed, or what is broken.
        config: flat, ``stage2.steps`` → 300.
    """

    folder: Path
    state: State
    written: str
    method: str = ""
    stage: str = ""
    steps: int = 0
    planned: int | None = None
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    seed: int | None = None
    commit: str = ""
    seconds: float = float("nan")
    reason: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> tuple[str, Estimate] | None:
        """What a list shows: the first figure with its name."""
        return next(iter(self.figures.items()), None)


def find_runs(folder: Path) -> list[RunSummary]:
    """Read all runs below a folder, or that are this folder, the last written first.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    return sorted(map(read_run_summary, run_folders(folder)), key=lambda run: run.written, reverse=True)


def run_folders(root: Path) -> Iterator[Path]:
    """Folders that a run has begun to write, and none inside them."""
    for place, folders, files in os.walk(root):
        if any(mark in files for mark in _MARKS):
            folders.clear()
            yield Path(place)
        folders.sort()


def read_run_summary(folder: Path) -> RunSummary:
    """Read one run; never raises for what its files hold."""
    problems: list[str] = []
    config = read_flat(folder / "config.yaml", problems)
    if not config and not problems:
        problems.append("config.yaml: missing or empty; the run ended before its first step")
    environment = read_flat(folder / "environment.json", problems)
    compute = read_flat(folder / "compute.json", problems)
    figures = _figures(folder / "results.json", problems)
    last = _last_line(folder / "metrics.jsonl")
    state = _state(folder, "report.html" if "stage1.steps" in config else "results.json", problems)
    seed = config.get("seed")
    return RunSummary(
        folder=folder,
        state=state,
        written=_written(folder),
        method=next((str(config[key]) for key in _METHODS if key in config), ""),
        stage="" if state == "finished" else str(last.get("stage", "")),
        steps=int(max(_total(compute, "steps"), last.get("step", 0))),
        planned=_planned(config),
        figures=figures,
        seed=seed if isinstance(seed, int) else None,
        commit=str(environment.get("git") or ""),
        seconds=_total(compute, "seconds") if compute else float("nan"),
        reason=_reason(folder, state, problems),
        config=config,
    )


def read_flat(file: Path, problems: list[str]) -> dict[str, Any]:
    """A YAML or JSON file under dotted keys; empty where it is absent, or cannot be read, which is a problem."""
    content = _read(file, problems)
    if content is not None and not isinstance(content, dict):
        problems.append(f"{file.name}: expected keys with values, found {type(content).__name__}")
    return flat(content) if isinstance(content, dict) else {}


def _total(values: Mapping[str, Any], name: str) -> float:
    """Sum over the stages in a flat ``compute.json``."""
    return sum(number for key, number in values.items() if key.endswith(f".{name}") and isinstance(number, int | float))


def _read(file: Path, problems: list[str]) -> Any:
    """Content of a file; None where it is absent or cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
        return yaml.load(text, _LOADER) if file.suffix == ".yaml" else json.loads(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError) as error:
        problems.append(f"{file.name}: {' '.join(str(error).split())}")
        return None


def _figures(file: Path, problems: list[str]) -> dict[str, Estimate]:
    """What ``results.json`` measured, the main figure first: the test split's accuracy, or the linear probe's."""
    content = _read(file, problems)
    try:
        if isinstance(content, dict) and "entries" in content:
            rows = {
                entry["split"]: from_plain(Row, entry["overall"])
                for entry in content["entries"]
                if entry["control"] == NO_CONTROL
            }
            found = {split: Estimate(row.accuracy, row.interval.low, row.interval.high) for split, row in rows.items()}
        else:
            found = dict(_estimates(content, ""))
    except (KeyError, TypeError, AttributeError) as error:
        problems.append(f"{file.name}: not what this version writes ({type(error).__name__}: {error})")
        return {}
    return dict(sorted(found.items(), key=lambda item: not item[0].startswith(("test", "linear"))))


def _estimates(content: Any, name: str) -> Iterator[tuple[str, Estimate]]:
    """Every figure with an interval, however deep, under the names on the way to it."""
    if isinstance(content, list):
        for each in content:
            yield from _estimates(each, f"{name}{each.get('probe', '')} ")
    elif isinstance(content, dict) and {"value", "low", "high"} <= content.keys():
        yield name.strip(), Estimate(content["value"], content["low"], content["high"])
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _estimates(value, name if key == "figures" else f"{name}{key.replace('_', ' ')} ")


def _last_line(file: Path) -> dict[str, Any]:
    """The last whole line of a log; empty where there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            lines = log.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError):
            continue
    return {}


def _planned(config: Mapping[str, Any]) -> int | None:
    counts: list[Any] = [config[key] for key in ("steps", *(f"{stage}.steps" for stage in STAGES)) if key in config]
    return sum(counts) if counts and all(isinstance(count, int) for count in counts) else None


def _state(folder: Path, last: str, problems: Sequence[str]) -> State:
    """The state of a run whose last file has this name."""
    if is_held(folder / LOCK):
        return "running"
    if problems:
        return "broken"
    if (folder / last).exists():
        return "finished"
    return "failed" if (folder / ERROR_NOTE).exists() else "interrupted"


def _reason(folder: Path, state: State, problems: Sequence[str]) -> str:
    if state == "failed":
        return (folder / ERROR_NOTE).read_text(encoding="utf-8", errors="replace").strip()
    return "; ".join(problems) if state == "broken" else ""


def _written(folder: Path) -> str:
    times = [entry.stat().st_mtime for entry in os.scandir(folder) if entry.is_file()]
    return datetime.fromtimestamp(max(times, default=folder.stat().st_mtime), UTC).isoformat(timespec="seconds")
