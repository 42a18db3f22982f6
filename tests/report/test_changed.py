from dataclasses import replace

from medgraph.evaluation.circular import CircularResult
from medgraph.evaluation.estimate import Estimate
from medgraph.evaluation.results import Results
from medgraph.evaluation.robustness import ShiftResult
from medgraph.report.changed import changed_tables
from medgraph.report.run import write_report

HALF = Estimate(0.5, 0.4, 0.6)
CIRCULAR = CircularResult(
    "test", "generated", 40, 20, dict.fromkeys(("accuracy", "circular", "consistent", "unparsed"), HALF)
)
LOSS = Estimate(-0.1, -0.2, 0.05)
SHIFT = ShiftResult(
    "ood", "blur", "low", 160, 40, {"accuracy": HALF, "shifted": HALF, "difference": LOSS, "ratio": Estimate(0.8)}
)


def test_rows_have_intervals_and_fit_their_header(run_dir, tmp_path):
    results = replace(Results.load(run_dir / "results.json"), robustness=())
    assert list(changed_tables(results, "a run")) == []
    asked = replace(results, circular=(CIRCULAR,), robustness=(SHIFT,))
    circular, robustness = changed_tables(asked, "a run")
    assert circular.rows == [("In distribution", "generated", "40", "20", *["50.0 (40.0–60.0)"] * 4)]
    assert robustness.rows[0][-2:] == ("−10.0 (−20.0 to +5.0)", "0.80 (no interval)")
    for table in (circular, robustness):
        assert {len(row) for row in table.rows} == {len(table.header)}
    asked.save(tmp_path / "results.json")
    text = write_report(tmp_path).read_text()
    assert (
        text.index('<section id="changed">')
        < text.index("Robustness to shifts")
        < text.index('<section id="training">')
    )
    assert (tmp_path / "tables/robustness.tex").exists()
