import json

import pytest

from medgraph.report.inputs import read_metrics, read_references


def test_sparse_cells_stages_and_values_that_are_not_finite(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,train/loss,val/accuracy\n0,0,2.0,\n9,0,1.0,\n9,0,,0.5\n0,0,nan,\n5,1,0.5,\n5,1,,inf\n")
    assert read_metrics(path) == {"train/loss": [(0, 2.0), (9, 1.0), (14, 0.5)], "val/accuracy": [(9, 0.5)]}


def test_metrics_errors_name_the_place(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column 'step', only a, b"):
        read_metrics(path)
    path.write_text("step,loss\n1,2\n2,x\n")
    with pytest.raises(ValueError, match=r"metrics\.csv:3: column 'loss' holds 'x'"):
        read_metrics(path)


def test_references(references, tmp_path):
    first = read_references(references)[0]
    assert (first.arm, first.seeds, first.own) == ("LM loss only, 10 %", "0, 1, 2", False)
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"arm": "x", "seeds": 3}]))
    with pytest.raises(ValueError, match=r"r\.json: entry 0"):
        read_references(path)
