"""Renders one self-contained HTML page from the packaged templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from medgraph.report import words
from medgraph.report.look import to_svg
from medgraph.report.provenance import Provenance

_IN_NOTEBOOK = (
    "max-width: 34rem; margin: .5rem 0; color: var(--jp-content-font-color1, currentColor); "
    "--line: #8888; --blue: light-dark(#0072b2, #3a8dde)"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as inline SVG with its caption; a notebook shows it where a cell ends with one."""

    svg: Markup
    caption: str

    def _repr_html_(self) -> Markup:
        caption = Markup('<figcaption style="font-size: .85em; opacity: .8">{}</figcaption>').format(self.caption)
        return Markup('<figure style="{}">{}{}</figure>').format(_IN_NOTEBOOK, self.svg, caption)


def picture(figure: Figure, caption: str) -> Picture:
    """Turn a figure into something a template can show."""
    return Picture(to_svg(figure, caption), caption)


def write_page(
    path: Path, template: str, title: str, values: Mapping[str, Any], provenance: Provenance | None = None
) -> Path:
    """Render a template into one file.

    Args:
        path: the HTML file to write.
        template: name of a packaged template.
        title: heading of the page.
        values: what the template needs besides.
        provenance: shown at the end.

    Returns:
        The path.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "interval": words.interval,
        "p_value": words.p_value,
        "duration": words.duration,
        "sample_size": words.sample_size,
        "split_name": words.split_name,
        "control": words.control_name,
        "count": words.count,
        "ratio": words.ratio,
    }
    page = environment.get_template(template).render(
        title=title,
        version=_version(),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        provenance=provenance,
        **values,
    )
    path.write_text(re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?== )|(?<=\bn =) ", words.THIN, page), encoding="utf-8")
    return path


def _version() -> str:
    try:
        return version("medgraph")
    except PackageNotFoundError:
        return "(not installed)"
