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

from medgraph.evaluation.predictions import Prediction, read_predictions
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


@dataclass(frozen=True, slots=True)
class Metrics:
    """What was logged during training.

    Attributes:
        curves: (step, value) pairs of every logged quantity, in order.
        stages: first step of every named stage.
    """

    curves: Curves = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class RunFiles:
    """Everything a run report shows."""

    results: Results | None = None
    predictions: list[Prediction] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    samples: list[Sample] = field(default_factory=list)
    config: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Sentences about what could not be read."""


def read_run(run_dir: Path) -> RunFiles:
    """Read a run folder; results are summarised from the predictions where ``results.json`` is absent."""
    files = RunFiles()

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

    files.predictions = attempt("predictions.jsonl", read_predictions) or []
    if (run_dir / "results.json").exists():
        files.results = attempt("results.json", Results.load)
    elif files.predictions:
        files.results = summarise(files.predictions)
    files.metrics = attempt("metrics.csv", read_metrics) or Metrics()
    files.samples = attempt("samples.json", _read_samples) or []
    files.config = attempt("config.yaml", lambda path: path.read_text(encoding="utf-8")) or ""
    files.environment = attempt("environment.json", _read_json) or {}
    files.data = attempt("data.json", _read_json) or {}
    files.compute = attempt("compute.json", _read_json) or {}
    return files


def read_metrics(path: str | Path) -> Metrics:
    """Read a ``metrics.csv``: sparse cells, one curve a column, steps counted over all stages.

    Cells that are not finite are left out; the columns ``epoch`` and ``stage_step`` are ignored.

    Raises:
        ValueError: if there is no ``step`` column or a cell is not a number, naming file, line and column.
    """
    curves: Curves = {}
    stages: dict[str, float] = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or ()):
            raise ValueError(f"{path} has no column 'step', only {', '.join(reader.fieldnames or ()) or 'nothing'}")
        for row in reader:
            stage = row.pop("stage", "")
            numbers = {name: _number(cell, f"{path}:{reader.line_num}: column {name!r}") for name, cell in row.items()}
            step = numbers.pop("step")
            stages.setdefault(stage, step)
            for name, value in numbers.items():
                if math.isfinite(value) and name not in ("epoch", "stage_step"):
                    curves.setdefault(name, []).append((step, value))
    return Metrics(curves, {name: step for name, step in stages.items() if name})


def _number(cell: str | None, place: str) -> float:
    try:
        return float(cell) if cell else math.nan
    except (ValueError, TypeError):
        raise ValueError(f"{place} holds {cell!r}, not a number") from None


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


def _read_json(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"expected an object, found {type(values).__name__}")
    return values


def _read_samples(path: Path) -> list[Sample]:
    entries: Sequence[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [Sample(**{**entry, "image": data_uri(path.parent / entry["image"])}) for entry in entries]


def data_uri(path: Path) -> str:
    """A picture file as text that a page can hold."""
    kind = "jpeg" if path.suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
