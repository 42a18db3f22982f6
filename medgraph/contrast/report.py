"""The page of a dual-encoder pre-training: figures with intervals, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from medgraph.contrast.options import ContrastConfig
from medgraph.contrast.results import ContrastResults
from medgraph.report.sections import Section, run_curves, write_sections
from medgraph.report.tables import RunTable
from medgraph.report.words import interval, percent
from medgraph.training.logging import read_metrics

CURVES = (
    ("Zero-shot accuracy on validation", {"val/zero_shot_label": "label", "val/zero_shot_modality": "modality",
                                          "val/zero_shot_area": "area"}),
    ("Recall@5 on validation", {"val/image_to_text_5": "image to text", "val/text_to_image_5": "text to image"}),
)  # fmt: skip


def figure_table(results: ContrastResults) -> RunTable:
    """All figures with intervals and chance."""
    rows = [
        (each.title, str(each.n), percent(each.value), "–" if math.isnan(each.low) else interval(each),
         percent(each.chance))
        for each in results.figures.values()
    ]  # fmt: skip
    caption = (
        "Test split, %; 95 % intervals over images (patients, where these are known). Equal texts answer each other in "
        "retrieval, ties count against the model. Decay and thresholds of probes are chosen on validation."
    )
    return RunTable("figures", "What was learnt", ("figure", "n", "value", "95 %", "chance"), rows, caption)


def write_run_report(folder: Path, config: ContrastConfig, results: ContrastResults, warnings: Sequence[str]) -> Path:
    """Write ``report.html`` of one pre-training.

    Args:
        folder: of the run; its ``metrics.jsonl`` is read.
        config: what was run.
        results: figures of the encoder.
        warnings: sentences about the data.
    """
    figures = run_curves(read_metrics(folder / "metrics.jsonl"), (("Loss", {"train/loss": "loss"}), *CURVES))
    sections = [
        Section("figures", "What the encoders have learnt", "Classification by prompts alone, retrieval, and linear "
                "probes on features of the frozen vision tower.", tables=[figure_table(results)], warnings=warnings),
        Section("training", "Training", "Validation is small during training; it chooses nothing.", figures),
    ]  # fmt: skip
    facts = [config.alignment.name, f"encoder: {config.encoder}", f"{config.steps:,} steps of {config.batch_size}"]
    title = f"{config.name} · seed {config.seed}"
    return write_sections(folder / "report.html", title, "MedGraph · dual-encoder pre-training", facts, sections)
