"""What differs between runs: configuration, data, environment, results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.config import ConfigError
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.score_cli import PREDICTIONS, Comparison, compare
from medgraph.report.runs import RunSummary, read_flat, read_run_summary

Differing = Mapping[str, Sequence[Any]]
"""Values of all runs by key; None where a run has no such key."""


@dataclass(frozen=True, slots=True)
class RunDifferences:
    """Runs side by side.

    Attributes:
        runs: in the order given.
        config: keys of ``config.yaml`` that are not the same in all runs.
        data: the same of ``data.json``.
        environment: the same of ``environment.json``, without the command.
        figures: every accuracy that a run has; None where one has not.
        questions: differences to the first run question by question; None where answers are missing or have no
            question in common.
        note: why there are none.
    """

    runs: Sequence[RunSummary]
    config: Differing
    data: Differing
    environment: Differing
    figures: Mapping[str, Sequence[Estimate | None]]
    questions: Comparison | None
    note: str


def compare_runs(folders: Sequence[Path]) -> RunDifferences:
    """Compare runs of any kind and state with the first one.

    Args:
        folders: of two or more runs.

    Raises:
        ConfigError: for fewer than two, or for what is not the folder of a run.
    """
    if len(folders) < 2:
        raise ConfigError(f"runs compare needs at least two runs, got {len(folders)}")
    for folder in folders:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"{folder} is not the folder of a run: it has no config.yaml")
    runs = [read_run_summary(folder) for folder in folders]
    questions, note = _questions(folders)
    names = dict.fromkeys(name for run in runs for name in run.figures)
    return RunDifferences(
        runs,
        differing([run.config for run in runs]),
        differing([read_flat(folder / "data.json", []) for folder in folders]),
        differing([read_flat(folder / "environment.json", []) for folder in folders], ignored=("command",)),
        {name: [run.figures.get(name) for run in runs] for name in names},
        questions,
        note,
    )


def differing(values: Sequence[Mapping[str, Any]], ignored: Sequence[str] = ()) -> dict[str, list[Any]]:
    """The keys whose values are not all the same.

    Example:
        >>> differing([{"seed": 0, "alpha": 1.0}, {"seed": 1, "alpha": 1.0}])
        {'seed': [0, 1]}
    """
    rows = {key: [each.get(key) for each in values] for each in values for key in each if key not in ignored}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def _questions(folders: Sequence[Path]) -> tuple[Comparison | None, str]:
    """Paired differences, or why there are none."""
    missing = [str(folder) for folder in folders if not (folder / PREDICTIONS).exists()]
    if missing:
        return None, f"no differences by question: no {PREDICTIONS} in {', '.join(missing)}"
    try:
        return compare(folders), ""
    except ValueError as error:
        return None, f"no differences by question: {error}"
