"""Filters and orders for lists of runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any

from medgraph.config import ConfigError
from medgraph.report.runs import RunSummary

ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "written": lambda run: run.written,
    "run": lambda run: str(run.folder),
    "state": lambda run: run.state,
    "method": lambda run: run.method,
    "steps": lambda run: run.steps,
    "result": lambda run: run.main[1].value if run.main else None,
    "seed": lambda run: run.seed,
    "training": lambda run: None if run.seconds != run.seconds else run.seconds,
}
"""Values that runs can be sorted by."""
LARGEST_FIRST = ("written", "steps", "result", "training")


def choose_runs(
    runs: Sequence[RunSummary],
    states: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str = "written",
    reverse: bool = False,
) -> list[RunSummary]:
    """Filter and sort runs.

    Args:
        runs: as found.
        states: states to keep; none keeps all.
        where: ``key=pattern`` of the configuration, such as ``alignment.name=exgra`` or ``name=llava_*``; a run is kept
            if all match.
        sort: a name in `ORDERS`; times, steps and results start with the largest. Runs without a value come last.
        reverse: the other way round, still with these runs last.

    Raises:
        ConfigError: for a key that no run has, a filter that is not ``key=pattern``, or an unknown order.
    """
    if sort not in ORDERS:
        raise ConfigError(f"--sort {sort}: expected one of {', '.join(ORDERS)}")
    patterns = [_split(condition, runs) for condition in where]
    kept = [
        run
        for run in runs
        if (not states or run.state in states)
        and all(key in run.config and fnmatch(_text(run.config[key]), pattern) for key, pattern in patterns)
    ]
    value = ORDERS[sort]
    known = [run for run in kept if value(run) is not None]
    ordered = sorted(known, key=value, reverse=(sort in LARGEST_FIRST) != reverse)
    return [*ordered, *(run for run in kept if value(run) is None)]


def _split(condition: str, runs: Sequence[RunSummary]) -> tuple[str, str]:
    key, equals, pattern = condition.partition("=")
    known = sorted({name for run in runs for name in run.config})
    if not equals:
        raise ConfigError(f"--where {condition}: expected KEY=VALUE, e.g. alignment.name=exgra")
    if known and key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"--where {condition}: no run has this key in its configuration{hint}")
    return key, pattern


def _text(value: Any) -> str:
    """A value as it is written in YAML."""
    return str(value) if isinstance(value, str) else json.dumps(value, default=str)
