"""The page of a pre-training: curves, collapse figures, probes with their intervals."""

from __future__ import annotations

from pathlib import Path

from medgraph.pretraining.options import PretrainConfig
from medgraph.pretraining.results import FIGURES, PretrainResults
from medgraph.report.sections import Curves, Section, run_curves, write_sections
from medgraph.report.tables import RunTable
from medgraph.report.words import share
from medgraph.training.logging import read_metrics

CURVES: Curves = (
    ("Loss", {"train/loss": "loss"}),
    ("Probes on validation", {"val/knn": "k-NN accuracy", "val/linear": "linear accuracy"}),
    ("Effective rank of the features", {"val/effective_rank": "effective rank"}),
    ("Spread of the features", {"val/feature_sd": "SD × √D"}),
)


def write_run_report(folder: Path, config: PretrainConfig, results: PretrainResults) -> Path:
    """Write ``report.html`` of one pre-training.

    Args:
        folder: of the run; its ``metrics.jsonl`` is read.
        config: what was run.
        results: probes of the tower.
    """
    figures = run_curves(read_metrics(folder / "metrics.jsonl"), CURVES)
    sections = [
        Section("probes", "What the tower has learnt",
                "Linear and k-nearest-neighbour probes on its frozen features: fitted on the training labels, chosen "
                "on validation, measured once on the test split.", tables=[probe_table(results)]),
        Section("training", "Training",
                "Features that collapse show as a spread near 0 and an effective rank near 1, whatever the loss says.",
                figures),
    ]  # fmt: skip
    facts = [config.method, f"tower: {config.vision}", f"{config.steps:,} steps of {config.batch_size} images"]
    return write_sections(
        folder / "report.html", f"{config.name} · seed {config.seed}", "MedGraph · pre-training", facts, sections
    )


def probe_table(results: PretrainResults) -> RunTable:
    """Figures of both probes with intervals over images."""
    rows = [
        (result.probe, str(result.n), str(result.classes), *(share(result.figures[name]) for name in FIGURES))
        for result in results.probes.values()
    ]
    names = tuple(f"{name.replace('_', ' ')}, %" for name in FIGURES)
    caption = "Test split; 95 % intervals over images (patients, where these are known)."
    return RunTable("probes", "probe", ("probe", "n", "classes", *names), rows, caption)
