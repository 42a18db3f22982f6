"""The report of a study of the laboratory: one page, its tables as CSV, Markdown and LaTeX, and all numbers as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medgraph.cg.plan import FILE
from medgraph.evaluation.plain import to_plain
from medgraph.files import write_json
from medgraph.report.cg_average import averages
from medgraph.report.cg_combinations import judged, rates
from medgraph.report.cg_elements import contributions
from medgraph.report.cg_sections import combination_section, element_section, kind_section
from medgraph.report.cg_study import CgStudy, Sheet
from medgraph.report.cg_words import fact_tables, headline, waiting, warnings
from medgraph.report.page import write_page
from medgraph.report.provenance import Provenance
from medgraph.report.tables import write_tables


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
    main: Sheet


def write_cg_report(study: CgStudy) -> CgReport:
    """Write ``report.html``, ``tables/`` and ``summary.json`` from what has finished into the folder of the plan."""
    folder = study.folder
    rows = judged(study)
    chance, elements, mean = rates(study, rows), contributions(study), averages(study)
    sections = [combination_section(study, rows, chance, mean)] if rows else []
    sections += [kind_section(study, kind) for kind in study.kinds]
    sections += [element_section(study, elements)] if elements else []
    sheets = [sheet for section in sections for sheet in section.sheets]
    summary: dict[str, Any] = {
        "plan": hashlib.sha256((folder / FILE).read_bytes()).hexdigest()[:12],
        "scoring": study.scoring,
        "runs": len(study.plan.runs),
        "runs_to_do": len(study.left),
        "headline": headline(study, rows, chance, mean, elements),
        "warnings": warnings(study, rows),
        "waiting": waiting(study),
        "tables": {one.table.name: {"caption": one.table.caption, "rows": to_plain(one.records)} for one in sheets},
    }
    write_json(folder / "summary.json", summary)
    (folder / "tables").mkdir(exist_ok=True)
    for table in (sheet.table for sheet in sheets):
        write_tables(folder / "tables" / table.name, table.header, table.rows, table.caption)
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
    return CgReport(page, summary, sheets[1] if rows else sheets[0])


def terminal(report: CgReport) -> RenderableType:
    """Verdict, main table and warnings as something Rich prints."""
    sheet, summary = report.main, report.summary
    table = Table(title=sheet.table.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, name in enumerate(sheet.table.header):
        table.add_column(name, justify="left" if place < sheet.texts else "right", overflow="fold")
    for row in sheet.table.rows:
        table.add_row(*map(Text, row))
    notes: Sequence[str] = [*summary["warnings"], *summary["waiting"]]
    return Group(*map(Text, summary["headline"]), table, *(Text(f"mind: {note}", "yellow") for note in notes))
