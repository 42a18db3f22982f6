"""Where the numbers of a page come from: configuration, data and environment of a run, or of the runs of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.config.errors import first_few
from medgraph.report.runs import read_flat, run_folders
from medgraph.report.runs_compared import differing

_PLACES = ("name", "run.root", "run.name", "run.force")
"""Keys that say where a run is, not what it computes."""
_SHOWN = 6
"""Values of a key that are listed; more are counted."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The end of every page.

    Attributes:
        tables: by title, names and values.
        config: YAML text; empty where there is none.
        config_of: whose configuration it is.
    """

    tables: Mapping[str, Sequence[tuple[str, Any]]]
    config: str = ""
    config_of: str = "config.yaml"


def provenance(folder: Path) -> Provenance | None:
    """Read what a run was made of; of a study, its first run, and what differs between its runs.

    Args:
        folder: of the run or study; what cannot be read is left out. None without any run.
    """
    runs = sorted(run_folders(folder))
    if not runs:
        return None
    first = runs[0]
    configs = [read_flat(run / "config.yaml", []) for run in runs]
    where = "" if first == folder else f", {first.relative_to(folder)}"
    tables = {
        "Differs between the runs": [(key, _listed(row)) for key, row in differing(configs, _PLACES).items()],
        f"Data{where}": _rows(first / "data.json"),
        f"Environment{where}": _rows(first / "environment.json"),
    }
    file = first / "config.yaml"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return Provenance(tables, text, f"config.yaml{where}")


def _rows(file: Path) -> list[tuple[str, Any]]:
    values = read_flat(file, [])
    return [(key, ", ".join(map(str, each)) or "–" if isinstance(each, list) else each) for key, each in values.items()]


def _listed(values: Sequence[Any]) -> str:
    texts = list(dict.fromkeys("–" if value is None else str(value) for value in values))
    return first_few(texts, _SHOWN)
