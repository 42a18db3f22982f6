"""The report of one run: everything in its folder on one page that can be mailed, archived and read on a phone."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from medgraph.evaluation.plateau import CurvePoint, judge_plateau
from medgraph.evaluation.results import Results
from medgraph.evaluation.statistics import detectable_difference
from medgraph.report import plots
from medgraph.report.answers import (
    CALIBRATION_HEADER,
    calibration_figures,
    calibration_rows,
    confusion_figures,
)
from medgraph.report.breakdown import run_tables
from medgraph.report.failures import PAGE, write_failures_page
from medgraph.report.inputs import Reference, RunFiles, read_references, read_run
from medgraph.report.matches import match_pictures
from medgraph.report.page import Picture, picture, write_page
from medgraph.report.provenance import provenance
from medgraph.report.published import FIGURES, beside
from medgraph.report.tables import RunTable, write_tables
from medgraph.report.words import control_name, duration, interval, percent, points, sample_size, split_name

_BREAKDOWNS = {
    "modality": "By modality",
    "area": "By anatomical area",
    "task": "By task",
    "answer_type": "By answer type",
    "subset": "By subset",
}


def write_report(run_dir: str | Path, references: str | Path | None = None) -> Path:
    """Write ``report.html``, ``failures.html`` and ``tables/`` of a run from whatever its folder holds.

    Reads ``config.yaml``, ``environment.json``, ``metrics.csv``, ``results.json``, ``predictions.jsonl``,
    ``samples.json`` and ``failures.json``; what is missing is said on the page.

    Args:
        run_dir: folder of the run.
        references: committed results of other arms to show beside this run, see `read_references`; None: the run's
            own ``reference.json``, if it has one.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    folder = Path(run_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; a report needs the folder of a run")
    files = read_run(folder)
    config = _config(files.config)
    name = str(config.get("name", folder.name))
    beside_it = Path(references) if references else folder / "reference.json"
    committed = read_references(beside_it) if beside_it.exists() else []
    rows = _reference_rows(name, str(config.get("seed", "–")), files, committed)
    tables = run_tables(files.results, name) if files.results else []
    if tables:
        write_tables(folder / "tables", tables)
    changed = [table for table in tables if table.name in ("circular", "robustness")]
    calibration = files.results.calibration if files.results else ()
    confused = confusion_figures(files.predictions)
    wrong = write_failures_page(folder, name, files.predictions)
    published = beside(files.predictions)
    sections = {
        "result": "Result",
        "comparison": "Comparison" if rows else "",
        "published": "Published" if published.theirs or published.notes else "",
        "breakdown": "Where it is right" if files.results else "",
        "confidence": "Confidence" if calibration else "",
        "changed": "Asked differently" if changed else "",
        "failures": "What goes wrong" if wrong or confused else "",
        "training": "Training",
        "samples": "Images",
        "reading": "How to read",
    }
    return write_page(
        folder / "report.html",
        "run.html.j2",
        name,
        {
            "kicker": "MedGraph · run report",
            "facts": [*_facts(config, files), folder.name],
            "contents": [(anchor, text) for anchor, text in sections.items() if text],
            "results": files.results,
            "headline": headline(files.results) if files.results else "",
            "warnings": _warnings(files),
            "result_figures": _result_figures(files.results),
            "power": _power(files.results),
            "reference_rows": rows,
            "reference_figures": _reference_figures(rows),
            "breakdowns": _dots(files.results, _BREAKDOWNS),
            "breakdown_tables": [table for table in tables if table.name.startswith("by_")],
            "protocol_tables": [table for table in tables if table.name == "protocols"],
            "changed_tables": changed,
            "published": published,
            "published_figures": FIGURES,
            "calibration_figures": calibration_figures(calibration),
            "calibration_header": CALIBRATION_HEADER,
            "calibration_rows": calibration_rows(calibration),
            "confusions": confused,
            "wrong": wrong,
            "failures_page": PAGE,
            "curves": [*_curves(files), *match_pictures(folder)],
            "plateau": _plateau(files),
            "samples": files.samples,
            "compute": files.compute,
        },
        provenance(folder),
    )


def answers_questions(run_dir: Path) -> bool:
    """Whether the results of a run are those of questions, and not of a pre-training or a classifier."""
    try:
        return "entries" in json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
    except ValueError:
        return True  # `write_report` says that they cannot be read


def read_run_tables(run_dir: str | Path) -> list[RunTable]:
    """The tables of a run folder, as `write_report` writes them; empty without results."""
    folder = Path(run_dir)
    files = read_run(folder)
    name = str(_config(files.config).get("name", folder.name))
    return run_tables(files.results, name) if files.results else []


def _config(text: str) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.create(text))
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def headline(results: Results) -> str:
    """The result in one or two sentences, with intervals and the distance to the same model without the image."""
    sentences = []
    for split in results.splits:
        entry = results.get(split)
        row = entry.overall
        text = f"{split_name(split)}: {percent(row.accuracy)} % right ({interval(row.interval)})"
        if (over := entry.over.get("no_image")) is not None:
            text += f", {points(over.mean)} points over the same model without the image ({interval(over, True)})"
        sentences.append(text + ".")
    return " ".join(sentences)


def _warnings(files: RunFiles) -> list[str]:
    warnings = [f"{sentence}." for sentence in files.missing]
    if (leaks := str(files.data.get("leaks", ""))).startswith("LEAK"):
        warnings.append(leaks)
    warnings += [f"{remark}." for remark in files.data.get("remarks", ())]
    if forced := files.environment.get("forced"):
        warnings.append(f"This run was continued by force after changes: {'; '.join(map(str, forced))}.")
    if files.results:
        for split in files.results.splits:
            row = files.results.get(split).overall
            if row.unparsed:
                share = percent(row.unparsed)
                warnings.append(f"{split_name(split)}: {share} % of the answers name none of the allowed answers.")
            if row.not_above:
                levels = ", ".join(control_name(level) for level in row.not_above)
                warnings.append(
                    f"{split_name(split)}: not clearly above {levels}, on the questions that these answer; there, this "
                    "result is no evidence that the image was used."
                )
    return warnings


def _power(results: Results | None) -> str:
    """Smallest paired difference that the test questions of each split can show."""
    if not results:
        return ""
    sizes = {split: results.get(split).overall.n for split in results.splits}
    return "; ".join(
        f"{split_name(split).lower()} {100 * detectable_difference(n):.1f} points (n = {n:,})"
        for split, n in sizes.items()
    )


def _result_figures(results: Results | None) -> list[Picture]:
    if not results:
        return []
    sizes = "; ".join(f"{split_name(s).lower()}: {sample_size(results.get(s).overall)}" for s in results.splits)
    caption = f"Accuracy of the model and its controls with 95 % intervals ({sizes})."
    return [picture(plots.accuracy_bars(results), caption), *_dots(results, {"question_type": "By question type"})]


def _dots(results: Results | None, tables: Mapping[str, str]) -> list[Picture]:
    """One figure for every table with more than one row."""
    if not results:
        return []
    sizes = ", ".join(f"{split_name(s).lower()} n = {results.get(s).overall.n:,}" for s in results.splits)
    return [
        picture(
            plots.table_dots(results, table, title),
            f"{title}: accuracy in % with 95 % intervals, {sizes}; questions of each split in brackets.",
        )
        for table, title in tables.items()
        if any(len(results.get(split).tables[table]) > 1 for split in results.splits)
    ]


def _curves(files: RunFiles) -> list[Picture]:
    metrics, asked = files.metrics, files.data.get("validation")
    names = list(metrics.curves)
    groups = {
        "Training loss": [n for n in names if n.endswith("/loss") or n in ("train/lm", "train/align")],
        "Alignment": [n for n in names if n.rpartition("/")[0] == "train/align" and not n.endswith("_seconds")],
        "Gradient norm": [n for n in names if n == "train/grad_norm"],
        "Gradient norm of the alignment loss": [n for n in names if "/grad_norm/" in n],
        "Seconds a step in the matching solver": [n for n in names if n.endswith("solver_seconds")],
        "Validation accuracy": [n for n in names if n.startswith("val/") and n.endswith("accuracy")],
        "Learning rate": [n for n in names if n.rpartition("/")[2] == "lr" or n.startswith("lr-")],
    }
    pictures = []
    for title, members in groups.items():
        if members:
            curves = {name.removeprefix("train/"): metrics.curves[name] for name in members}
            figure = plots.training_curves(curves, title, metrics.stages)
            n = f" (n = {asked:,} questions)" if asked and title.startswith("Validation") else ""
            pictures.append(picture(figure, f"{title}{n} over optimiser steps of all stages."))
    return pictures


def _plateau(files: RunFiles) -> str:
    """Verdict on the stage with most evaluations; later stages continue another curve."""
    starts = sorted(files.metrics.stages.values()) or [0.0]
    stages: dict[int, list[CurvePoint]] = {}
    n = files.data.get("records", {}).get("val")
    for step, value in files.metrics.curves.get("val/accuracy", []):
        stages.setdefault(bisect.bisect_right(starts, step), []).append(CurvePoint(step, value, n))
    return judge_plateau(max(stages.values(), key=len)).sentence if stages else ""


def _reference_rows(
    name: str, seed: str, files: RunFiles, committed: Sequence[Reference]
) -> dict[str, list[Reference]]:
    """Own result and references of every split; empty without references."""
    if not committed or not files.results:
        return {}
    rows = {}
    for split in files.results.splits:
        row = files.results.get(split).overall
        ends = row.interval
        own = Reference(name, split, row.accuracy, ends.low, ends.high, row.n, seed, "this run", own=True)
        rows[split] = [own, *(reference for reference in committed if reference.split == split)]
    return rows


def _reference_figures(rows: Mapping[str, Sequence[Reference]]) -> list[Picture]:
    pictures = []
    for split, arms in rows.items():
        lines = [plots.ForestRow(r.arm, r.accuracy, r, f"n {r.n:,}", r.own) for r in arms]
        title = f"{split_name(split)}: accuracy, %"
        pictures.append(
            picture(plots.forest(lines, title), f"{title}, 95 % intervals; open dots are committed results.")
        )
    return pictures


def _facts(config: Mapping[str, Any], files: RunFiles) -> Iterator[str]:
    """What identifies the run, for the line under its title."""
    if "seed" in config:
        yield f"seed {config['seed']}"
    if commit := files.environment.get("git"):
        yield f"commit {commit[:10]}{' with changes' if commit.endswith('dirty') else ''}"
    if "gpus" in files.environment:
        yield ", ".join(files.environment["gpus"]) or "CPU"
    if files.compute:
        yield f"trained {duration(sum(stage['seconds'] for stage in files.compute.values()))}"
    if "fingerprint" in files.data:
        yield f"data {files.data['fingerprint']}"
