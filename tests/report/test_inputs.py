import json

import pytest

from medgraph.report.inputs import Metrics, read_metrics, read_references


def test_sparse_cells_stages_and_values_that_are_not_finite(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "stage,stage_step,step,train/loss,val/accuracy\na,0,0,2.0,\na,9,9,,0.5\nb,0,10,nan,\nb,5,15,0.5,inf\n"
    )
    metrics = read_metrics(path)
    assert metrics.curves == {"train/loss": [(0, 2.0), (15, 0.5)], "val/accuracy": [(9, 0.5)]}
    assert metrics.stages == {"a": 0, "b": 10}


def test_lightnings_own_csv_has_epochs_and_no_stages(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,train/loss\n0,0,2.0\n")
    assert read_metrics(path) == Metrics({"train/loss": [(0, 2.0)]})


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
