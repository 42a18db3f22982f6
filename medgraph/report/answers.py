"""The part of a run report on how the model answers: its confidence, and what it takes for what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from medgraph.evaluation.confidence import CalibrationResult
from medgraph.evaluation.predictions import Prediction
from medgraph.report import answer_plots
from medgraph.report.confusion import confusions
from medgraph.report.page import Picture, picture
from medgraph.report.words import decimal, share, split_name

CALIBRATION_HEADER = ("split", "confidence", "temperature", "n", "ECE, %", "Brier", "AUROC", "AURC, %")
_SOURCES = {"options": "option probability", "verbalised": "stated by the model"}


def calibration_figures(entries: Sequence[CalibrationResult]) -> list[Picture]:
    """A reliability diagram a split and source, before and after the temperature, then risk over coverage."""
    pictures = []
    for (split, source), group in groupby(entries, key=lambda entry: (entry.split, entry.source)):
        shown = sorted(group, key=lambda entry: entry.fitted_on)
        fitted = [f", temperature fitted on {e.fitted_on:,} validation questions" for e in shown if e.fitted_on]
        title = f"{split_name(split)}: is the confidence right?"
        caption = (
            f"{split_name(split)}: accuracy over confidence ({_SOURCES[source]}), n = {shown[0].n:,} answers on "
            f"{shown[0].images:,} images{''.join(fitted)}; below: answers a bin."
        )
        pictures.append(picture(answer_plots.reliability(shown, title), caption))
    if plain := [entry for entry in entries if not entry.fitted_on]:
        sizes = ", ".join(f"{split_name(e.split).lower()} n = {e.n:,}" for e in plain)
        caption = f"Wrong answers if only the most confident share is answered ({sizes}), before any temperature."
        pictures.append(picture(answer_plots.risk_over_coverage(plain), caption))
    return pictures


def calibration_rows(entries: Sequence[CalibrationResult]) -> list[tuple[str, ...]]:
    """One row a split, source and temperature, for `CALIBRATION_HEADER`; every figure with its interval."""
    return [
        (
            split_name(e.split),
            _SOURCES[e.source],
            f"{e.temperature:.2f}, fitted on {e.fitted_on:,}" if e.fitted_on else "as it is",
            f"{e.n:,}",
            share(e.figures["ece"]),
            decimal(e.figures["brier"], 3),
            decimal(e.figures["auroc"], 3),
            share(e.figures["aurc"]),
        )
        for e in entries
    ]


def confusion_figures(predictions: Sequence[Prediction]) -> list[Picture]:
    """A confusion matrix a split and type of closed or choice questions."""
    pictures = []
    for confusion in confusions(predictions):
        title = f"{split_name(confusion.split)}: {confusion.question_type.replace('_', ' ')}"
        caption = (
            f"{title}, closed and choice questions, n = {confusion.n:,}: truths in rows, answers in columns, shaded by "
            "the share of the row; unparsed: names none of the allowed answers."
        )
        pictures.append(picture(answer_plots.confusion_matrix(confusion, title), caption))
    return pictures
