"""The report of a study of the laboratory: one page, its tables as CSV, Markdown and LaTeX, and all numbers as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from medgraph.cg.plan import FILE
from medgraph.evaluation.plain import to_plain
from medgraph.files import write_json
from medgraph.report.cg_average import averages
from medgraph.report.cg_combinations import judged, rates
from medgraph.report.cg_elements import contributions
from medgraph.report.cg_sections import combination_section, element_section, kind_section
from medgraph.report.cg_study import CgStudy
from medgraph.report.cg_words import fact_tables, headline, waiting, warnings
from medgraph.report.page import write_page
from medgraph.report.provenance import Provenance
from medgraph.report.tables import RunTable, write_tables


@dataclass(frozen=True, slots=True)
class CgReport:
    """A report that has been written.

    Attributes:
        page: the HTML file.
        summary: what ``summary.json`` holds.
        main: the table that answers first.
    """

    page: Path
    summary: dict[str, Any]
    main: RunTable


def write_cg_report(study: CgStudy) -> CgReport:
    """Write ``report.html``, ``tables/`` and ``summary.json`` from what has finished into the folder of the plan."""
    folder = study.folder
    rows = judged(study)
    chance, elements, mean = rates(study, rows), contributions(study), averages(study)
    sections = [combination_section(study, rows, chance, mean)] if rows else []
    sections += [kind_section(study, kind) for kind in study.kinds]
    sections += [element_section(study, elements)] if elements else []
    tables = [table for section in sections for table in section.tables]
    summary: dict[str, Any] = {
        "plan": hashlib.sha256((folder / FILE).read_bytes()).hexdigest()[:12],
        "scoring": study.scoring,
        "runs": len(study.plan.runs),
        "runs_to_do": len(study.left),
        "headline": headline(study, rows, chance, mean, elements),
        "warnings": warnings(study, rows),
        "waiting": waiting(study),
        "tables": {one.name: {"caption": one.caption, "rows": to_plain(one.records)} for one in tables},
    }
    write_json(folder / "summary.json", summary)
    write_tables(folder / "tables", tables)
    contents = [("verdict", "Verdict"), *((section.anchor, section.title) for section in sections),
                ("reading", "How to read")]  # fmt: skip
    page = write_page(
        folder / "report.html",
        "cg.html.j2",
        folder.resolve().name,
        {
            "kicker": "MedGraph · compositional generalization",
            "facts": [f"{len(study.plan.experiments)} experiments", f"{len(study.plan.runs)} runs", study.seeds],
            "contents": contents,
            "summary": summary,
            "sections": sections,
        },
        Provenance(fact_tables(study, summary["plan"])),
    )
    return CgReport(page, summary, tables[1] if rows else tables[0])


def terminal(report: CgReport) -> RenderableType:
    """Verdict, main table and warnings as something Rich prints."""
    summary = report.summary
    notes: Sequence[str] = [*summary["warnings"], *summary["waiting"]]
    return Group(*map(Text, summary["headline"]), report.main, *(Text(f"mind: {note}", "yellow") for note in notes))
