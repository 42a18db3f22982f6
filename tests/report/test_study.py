import csv
import io

import numpy as np
import pytest
from rich.console import Console

from medgraph.evaluation.plateau import CurvePoint
from medgraph.evaluation.results import Results
from medgraph.evaluation.study import StudyRun, compare_arms
from medgraph.report.study import HEADER, terminal_study_table, write_study_report


@pytest.fixture
def runs(run_dir) -> list[StudyRun]:
    """Two arms, two seeds; the second arm is the first with other curves, so every difference is zero."""
    results = Results.load(run_dir / "results.json")

    def curve(tau: float) -> tuple[CurvePoint, ...]:
        return tuple(CurvePoint(step, 0.8 - 0.6 * np.exp(-step / tau), 400) for step in range(0, 400, 10))

    return [
        StudyRun(arm=arm, seed=seed, results=results, predictions=run_dir / "predictions.jsonl", curve=curve(tau))
        for arm, tau in (("LM 10 %", 30), ("LM 100 %", 300))
        for seed in (0, 1)
    ]


def test_study_report_table_and_plateau(runs, tmp_path):
    text = write_study_report(tmp_path, runs, "LM 10 %", full_data="LM 100 %", title="A & B").read_text()
    text = text.replace("\u202f", " ")
    assert "<h1>A &amp; B</h1>" in text
    assert "LM 100 % has not been shown to be at its plateau" in text
    assert "Plateau reached" in text
    assert "only 2 seeds" in text
    assert text.count("<svg") == 5
    rows = list(csv.reader((tmp_path / "comparison.csv").read_text().splitlines()[1:]))
    assert rows[0] == list(HEADER)
    assert [row[:3] for row in rows[1:]] == [
        [split, arm, "2"] for split in ("In distribution", "Unseen combinations") for arm in ("LM 10 %", "LM 100 %")
    ]
    assert rows[2][5] == "+0.0"
    assert "| In distribution | LM 100 % | 2 |" in (tmp_path / "comparison.md").read_text()
    assert "strict protocol" in (tmp_path / "comparison.tex").read_text()


def test_a_plateau_is_said_at_the_top(runs, tmp_path):
    text = write_study_report(tmp_path, runs, "LM 10 %", full_data="LM 10 %").read_text()
    assert "<p>LM 10\u202f%: Plateau reached" in text
    assert "has not been shown" not in text


def test_a_study_without_curves_says_that_nothing_is_known(runs, tmp_path):
    bare = [StudyRun(arm=run.arm, seed=run.seed, results=run.results) for run in runs]
    text = write_study_report(tmp_path, bare, "LM 10 %", full_data="LM 100 %").read_text()
    assert "no validation curve, so nobody can say" in text


def test_terminal_table(runs):
    console = Console(width=220, file=io.StringIO())
    console.print(terminal_study_table(compare_arms(runs, "LM 10 %", resamples=50)))
    assert "differences in points to LM 10 %" in console.file.getvalue()
