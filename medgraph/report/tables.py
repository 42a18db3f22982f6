"""Tables as CSV, Markdown and LaTeX; the caption, which states the protocol, is part of every one of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "−": "$-$", "×": r"$\times$",
    "–": "--", "\u202f": r"\,",
}  # fmt: skip

_SIGNS = "+−<–"
"""What a number may start with besides a digit; the dash stands for one that is missing."""

Cells = Sequence[str]


@dataclass(frozen=True, slots=True)
class RunTable:
    """A table as texts; Rich prints it, and a notebook shows it where a cell ends with one.

    Attributes:
        name: of its files.
        title: what a row is.
        header: names of the columns.
        rows: cells as they are to be read.
        caption: protocol, splits, their n, and the kind of interval.
        texts: how many columns on the left are no numbers.
        folded: whether a page shows it only when asked.
        records: the same in numbers, one a row, shares in [0, 1]; empty where nobody reads them.
    """

    name: str
    title: str
    header: Cells
    rows: Sequence[Cells]
    caption: str
    texts: int = 1
    folded: bool = False
    records: Sequence[dict[str, Any]] = ()

    def _repr_markdown_(self) -> str:
        return to_markdown(self.header, self.rows, self.caption)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Numbers stay in one piece where that leaves 16 characters for the first column.
        widths = [max(map(cell_len, column)) for column in zip(self.header, *self.rows, strict=True)]
        numbers_fit = sum(widths[1:]) + len(widths) + 16 <= options.max_width
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for place, name in enumerate(self.header):
            justify: Any = "left" if place < self.texts else "right"
            table.add_column(name, justify=justify, no_wrap=numbers_fit and place > 0, overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        yield table


def to_csv(header: Cells, rows: Sequence[Cells], caption: str) -> str:
    """CSV whose first line is a comment with the caption (``pandas.read_csv(..., comment="#")``)."""
    file = io.StringIO()
    file.write(f"# {caption}\n")
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()


def to_markdown(header: Cells, rows: Sequence[Cells], caption: str) -> str:
    r"""A Markdown table under its caption; columns of numbers are aligned right.

    Example:
        >>> print(to_markdown(["arm", "%"], [["a|b", "1"]], "Strict protocol."))
        Strict protocol.
        <BLANKLINE>
        | arm | % |
        | :-- | --: |
        | a\|b | 1 |
        <BLANKLINE>
    """
    align = [":--" if text else "--:" for text in _text_columns(header, rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, align, *[[_escape_bar(c) for c in r] for r in rows]]]
    return "\n".join([caption, "", *lines, ""])


def to_latex(header: Cells, rows: Sequence[Cells], caption: str) -> str:
    r"""A table environment, small enough for many columns; its document needs ``\usepackage{booktabs}``."""
    columns = "".join("l" if text else "r" for text in _text_columns(header, rows))
    body = [" & ".join(_escape_latex(cell) for cell in cells) + r" \\" for cells in rows]
    return "\n".join(
        [
            r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_escape_latex(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule",
            " & ".join(_escape_latex(cell) for cell in header) + r" \\", r"\midrule", *body,
            r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ]
    )  # fmt: skip


FORMATS: dict[str, tuple[str, Callable[[Cells, Sequence[Cells], str], str]]] = {
    "csv": (".csv", to_csv),
    "md": (".md", to_markdown),
    "latex": (".tex", to_latex),
}
"""Suffix and renderer of every format."""


def write_tables(folder: Path, tables: Iterable[RunTable]) -> list[Path]:
    """Write every table as CSV, Markdown and LaTeX.

    Args:
        folder: made if absent.
        tables: their names are those of the files.

    Returns:
        The paths, three a table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        for suffix, render in FORMATS.values():
            written.append(folder / f"{table.name}{suffix}")
            written[-1].write_text(render(table.header, table.rows, table.caption), encoding="utf-8")
    return written


def _text_columns(header: Cells, rows: Sequence[Cells]) -> list[bool]:
    """Whether a column is text: the first one, and those in which no cell starts like a number."""
    return [
        column == 0 or not any(row[column][:1].isdigit() or row[column][:1] in _SIGNS for row in rows if row[column])
        for column in range(len(header))
    ]


def _escape_bar(cell: str) -> str:
    return cell.replace("|", r"\|")


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
