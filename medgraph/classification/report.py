"""The page of a classifier: figures with intervals, curves."""

from __future__ import annotations

from pathlib import Path

from medgraph.classification.options import ClassifierConfig
from medgraph.classification.results import ClassifierResults
from medgraph.report.sections import Section, run_curves, write_sections
from medgraph.report.tables import RunTable
from medgraph.report.words import share
from medgraph.training.logging import read_metrics

CURVES = (
    ("Accuracy on validation", {"val/accuracy": "accuracy"}),
    ("Cross entropy on validation", {"val/loss": "loss"}),
    ("Training loss, which differs between mixes", {"train/loss": "loss"}),
)


def figure_table(results: ClassifierResults) -> RunTable:
    """All figures with intervals."""
    rows = [(name.replace("_", " "), share(figure)) for name, figure in results.test.figures.items()]
    caption = (
        f"Test split, n = {results.test.n:,} images of {results.test.classes} classes; 95 % intervals over images "
        "(patients, where these are known). Thresholds of recall and F1 are chosen on validation."
    )
    return RunTable("figures", "figure", ("figure", "value, %"), rows, caption)


def write_run_report(folder: Path, config: ClassifierConfig, results: ClassifierResults) -> Path:
    """Write ``report.html`` of one classifier.

    Args:
        folder: of the run; its ``metrics.jsonl`` is read.
        config: what was run.
        results: figures of the classifier.
    """
    sections = [
        Section("figures", "How often it is right", "Measured once on the test split.", tables=[figure_table(results)]),
        Section("training", "Training", "Nothing but thresholds is chosen on validation.",
                run_curves(read_metrics(folder / "metrics.jsonl"), CURVES)),
    ]  # fmt: skip
    facts = [f"tower: {config.vision}", f"tuned: {config.tuning}, {results.trained:,} parameters",
             f"mix: {config.mix.name}", f"{config.steps:,} steps of {config.batch_size} images"]  # fmt: skip
    title = f"{config.name} · seed {config.seed}"
    return write_sections(folder / "report.html", title, "MedGraph · classifier", facts, sections)
