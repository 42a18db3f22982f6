"""Reads what a run left in its folder; what is missing or broken becomes a sentence for the report, never a crash."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgraph.evaluation.predictions import read_predictions
from medgraph.evaluation.results import Results, summarise

Curves = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A test image with its question, the truth and the model's answer."""

    image: str
    """Data URI of the picture."""
    question: str
    answer: str
    prediction: str
    correct: bool
    split: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The result of an arm in a comparison: committed earlier, or a run's own."""

    arm: str
    split: str
    accuracy: float
    low: float
    high: float
    n: int
    seeds: str
    date: str
    own: bool = False


@dataclass(slots=True)
class RunFiles:
    """Everything a run report shows."""

    results: Results | None = None
    metrics: Curves = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    config: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Sentences about what could not be read."""


def read_run(run_dir: Path) -> RunFiles:
    """Read a run folder; results are summarised from the predictions where ``results.json`` is absent."""
    files = RunFiles()
    results = run_dir / "results.json"

    def attempt(name: str, read: Any) -> Any:
        path = run_dir / name
        if not path.exists():
            files.missing.append(f"{name} is not there")
            return None
        try:
            return read(path)
        except (ValueError, KeyError, TypeError, OSError) as error:
            files.missing.append(f"{name} could not be read: {error}")
            return None

    if results.exists():
        files.results = attempt("results.json", Results.load)
    else:
        files.results = attempt("predictions.jsonl", lambda path: summarise(read_predictions(path)))
    files.metrics = attempt("metrics.csv", read_metrics) or {}
    files.samples = attempt("samples.json", _read_samples) or []
    files.config = attempt("config.yaml", lambda path: path.read_text(encoding="utf-8")) or ""
    files.environment = attempt("environment.json", lambda path: json.loads(path.read_text(encoding="utf-8"))) or {}
    return files


def read_metrics(path: str | Path) -> Curves:
    """Read a ``metrics.csv`` of Lightning's CSVLogger: sparse cells, one curve a column.

    Where the step falls back, a new training stage has begun: its steps continue after those before it. Cells that are
    not finite are left out.

    Returns:
        (step, value) pairs of every column except step and epoch, in order.

    Raises:
        ValueError: if there is no ``step`` column or a cell is not a number, naming file, line and column.
    """
    curves: Curves = {}
    offset, previous = 0.0, 0.0
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or ()):
            raise ValueError(f"{path} has no column 'step', only {', '.join(reader.fieldnames or ()) or 'nothing'}")
        for row in reader:
            numbers = {}
            for name, cell in row.items():
                try:
                    numbers[name] = float(cell) if cell else math.nan
                except (ValueError, TypeError):
                    raise ValueError(
                        f"{path}:{reader.line_num}: column {name!r} holds {cell!r}, not a number"
                    ) from None
            step = numbers.pop("step")
            numbers.pop("epoch", None)
            if step < previous:
                offset += previous
            previous = step
            for name, value in numbers.items():
                if math.isfinite(value):
                    curves.setdefault(name, []).append((offset + step, value))
    return curves


def read_references(path: str | Path) -> list[Reference]:
    """Read committed results of other arms.

    Args:
        path: JSON list of objects with arm, split, accuracy, low, high (shares), n, seeds and date.

    Raises:
        ValueError: naming file and entry if a field is missing or unknown.
    """
    references = []
    for number, entry in enumerate(json.loads(Path(path).read_text(encoding="utf-8"))):
        try:
            seeds = entry["seeds"]
            seeds = ", ".join(map(str, seeds)) if isinstance(seeds, Sequence) and not isinstance(seeds, str) else seeds
            references.append(Reference(**{**entry, "seeds": str(seeds)}))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: entry {number} is not a reference result: {error}") from error
    return references


def _read_samples(path: Path) -> list[Sample]:
    entries: Sequence[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [Sample(**{**entry, "image": _data_uri(path.parent / entry["image"])}) for entry in entries]


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
