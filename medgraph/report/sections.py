"""Pages that are a list of sections, each with figures and tables, and the curves of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgraph.files import read_json
from medgraph.report import plots
from medgraph.report.page import Picture, picture, write_page
from medgraph.report.provenance import provenance
from medgraph.report.tables import RunTable
from medgraph.report.words import duration

Curves = Sequence[tuple[str, Mapping[str, str]]]
"""Title of a figure, and label by key of the log."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        anchor: its id.
        title: heading.
        text: what it shows.
        figures: drawn first.
        tables: below them.
        warnings: above its text.
    """

    anchor: str
    title: str
    text: str
    figures: Sequence[Picture] = ()
    tables: Sequence[RunTable] = ()
    warnings: Sequence[str] = ()


def write_sections(file: Path, title: str, kicker: str, facts: Sequence[str], sections: Sequence[Section]) -> Path:
    """Write a page of sections, with the training time and the configuration that lie beside it or below."""
    seconds = [stage["seconds"] for stage in read_json(file.parent / "compute.json").values()]
    facts = [*facts, *([f"trained {duration(sum(seconds))}"] if seconds else [])]
    contents = [(section.anchor, section.title) for section in sections]
    values = {"kicker": kicker, "facts": facts, "contents": contents, "sections": sections}
    return write_page(file, "sections.html.j2", title, values, provenance(file.parent))


def run_curves(lines: Iterable[Mapping[str, Any]], curves: Curves) -> list[Picture]:
    """What a log holds over its steps, one figure a title; without those that it has nothing of."""
    lines = list(lines)
    figures = []
    for title, series in curves:
        points = {label: [(line["step"], line[key]) for line in lines if key in line] for key, label in series.items()}
        if shown := {label: line for label, line in points.items() if line}:
            figures.append(picture(plots.training_curves(shown, title, {}), f"{title} over optimiser steps."))
    return figures
