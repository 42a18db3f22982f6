import numpy as np
import pytest

from medgraph.report.page import picture
from medgraph.report.plots import sweep
from medgraph.report.tables import RunTable


def test_a_sweep_draws_means_and_their_t_intervals():
    figure = sweep({"a": {1: [0.2, 0.4, 0.6], 8: [0.5, 0.5, 0.5]}, "b": {1: [0.3]}}, "Signal", "samples")
    (axes,) = figure.axes
    (line, _, (bars,)), (alone, _, _) = axes.containers
    assert line.get_ydata() == pytest.approx([0.4, 0.5])
    assert np.diff(bars.get_segments()[0][:, 1]) == pytest.approx(2 * 4.303 * 0.2 / np.sqrt(3), rel=1e-3)
    assert alone.get_ydata() == pytest.approx([0.3])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "8"]


def test_a_notebook_shows_pictures_and_tables():
    shown = picture(sweep({"a": {1: [1.0]}}, "Signal", "samples"), "n < 3")._repr_html_()
    assert shown.startswith("<figure")
    assert "<svg" in shown
    assert "n &lt; 3</figcaption>" in shown
    table = RunTable("one", "arms", ("arm", "%"), [("a", "1")], "Strict.")
    assert table._repr_markdown_().splitlines()[-1] == "| a | 1 |"
