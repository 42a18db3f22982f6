"""Tables of what changes the answers: options in every order, corrupted images, held-out questions."""

from __future__ import annotations

from collections.abc import Iterator

from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.results import Results
from medgraph.report.tables import RunTable
from medgraph.report.words import decimal, interval, points, share, split_name

_RULE = "strict protocol, 95 % intervals over images in brackets"


def changed_tables(results: Results, run: str) -> Iterator[RunTable]:
    """A table a kind of change; none where nothing changed.

    Args:
        results: of one run.
        run: its name, for the captions.
    """
    if results.circular:
        header = ("split", "answers", "n", "images", "accuracy, %", "right in every order, %", "same option, %",
                  "unparsed, %")  # fmt: skip
        circular = [
            (
                split_name(c.split), c.answers, f"{c.n:,}", f"{c.images:,}",
                *(share(c.figures[name]) for name in ("accuracy", "circular", "consistent", "unparsed")),
            )
            for c in results.circular
        ]  # fmt: skip
        caption = f"{run}: choice questions with their options in every order, {_RULE}."
        yield RunTable("circular", "Options in every order", header, circular, caption, texts=2)
    if results.robustness:
        columns = ("split", "shift", "severity", "n", "images", "without, %", "with, %", "difference", "ratio")
        shifted = [
            (
                split_name(s.split), s.corruption, s.severity or "–", f"{s.n:,}", f"{s.images:,}",
                share(s.figures["accuracy"]), share(s.figures["shifted"]), _difference(s.figures["difference"]),
                decimal(s.figures["ratio"], 2),
            )
            for s in results.robustness
        ]  # fmt: skip
        caption = (
            f"{run}: {_RULE}; difference in points and ratio (relative robustness), paired for corrupted images; "
            "held-out questions are compared with the test questions of the training distribution."
        )
        yield RunTable("robustness", "Robustness to shifts", columns, shifted, caption, texts=2)


def _difference(figure: Estimate) -> str:
    return f"{points(figure.value)} ({interval(figure, signed=True)})"
