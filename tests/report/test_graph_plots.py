import numpy as np
import pytest

from medgraph.report.graph_plots import draw_graphs, principal_plane


def test_the_plane_is_that_of_the_largest_spread():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2)) * [9, 4]
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    places = principal_plane(flat @ turn + 100)
    assert places.min(0) == pytest.approx([-1, -1])
    assert places.max(0) == pytest.approx([1, 1])
    assert abs(np.corrcoef(places[:, 0], flat[:, 0])[0, 1]) > 0.99


def test_edges_that_all_views_have_are_apart_from_the_others():
    graphs = {"image": [[1], [0], [0]], "answer": [[1], [2], [1]]}  # 0-1 in both, 0-2 and 1-2 in one
    figure = draw_graphs(graphs, np.array([[0, 0], [1, 0], [0, 1.0]]), ["CT", "MRI", "CT"])
    for axes, name in zip(figure.axes, graphs, strict=True):
        own, shared = (collection.get_segments() for collection in axes.collections)
        assert len(own) == len(shared) == 1
        assert shared[0].tolist() == [[0, 0], [1, 0]]
        assert axes.get_title() == f"{name}: 50 % shared"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["CT", "MRI"]
