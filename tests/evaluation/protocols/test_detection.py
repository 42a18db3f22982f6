import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraph.data.boxes import box_text
from medgraph.evaluation.boxes import intersection_and_union, parse_boxes
from medgraph.evaluation.protocol_table import HEADLINES
from medgraph.evaluation.protocols.registry import score_protocol


def boxes():
    corner, side = st.integers(0, 12), st.integers(1, 12)
    return st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(boxes(), boxes())
def test_areas_equal_counted_pixels(first, second):
    grids = []
    for x1, y1, x2, y2 in (first, second):
        grid = np.zeros((30, 30), dtype=bool)
        grid[y1:y2, x1:x2] = True
        grids.append(grid)
    assert intersection_and_union(first, second) == ((grids[0] & grids[1]).sum(), (grids[0] | grids[1]).sum())


@pytest.mark.parametrize(
    ("text", "count"),
    [("[1, 2, 3, 4]", 1), ("(0.5,0.5,1,1) [0,0,1,1]", 2), ("<1,2,3,4>", 1), ("[3,2,1,4]", 0), ("1 2 3 4", 0), ("", 0)],
)
def test_parse_boxes(text, count):
    assert len(parse_boxes(text)) == count


@given(st.lists(boxes(), min_size=1, max_size=4), st.sampled_from(["minigpt_v2", "decimal"]))
def test_boxes_that_training_writes_are_read_back(truth, style):
    text = f"it is here: {box_text(truth, 100, 100, style)} [see note 1]"
    np.testing.assert_allclose(100 * np.array(parse_boxes(text)), truth, atol=0.5)


def score(make_prediction, truth, answers):
    questions = [make_prediction(str(i), answer=truth, prediction=text) for i, text in enumerate(answers)]
    return score_protocol(questions, "detection", resamples=200).figures


def test_missing_and_superfluous_boxes_cost(make_prediction):
    answers = ["[0,0,2,2]", "[0,0,2,1]", "no box", "[0,0,2,2] or [1,1,2,2]"]
    figures = score(make_prediction, "[0,0,2,2]", answers)
    assert figures["mean_iou"].value == pytest.approx(100 * (1 + 0.5 + 0 + 0.5) / 4)
    assert figures["accuracy_50"].value == 75
    assert figures["unparsed"].value == 25
    assert figures["cumulative_iou"].value == pytest.approx(100 * (4 + 2 + 0 + 4) / (4 + 4 + 4 + 5))
    assert figures["cumulative_iou"].interval.low < figures["cumulative_iou"].value
    assert any(name in HEADLINES for name in figures)
    assert set(figures) == {"mean_iou", "accuracy_50", "unparsed", "cumulative_iou"}


def test_several_boxes_are_matched_in_any_order(make_prediction):
    figures = score(make_prediction, "[0,0,1,1] [5,5,7,7]", ["[5,5,7,7] [0,0,1,1]"])
    assert (figures["mean_iou"].value, figures["cumulative_iou"].value) == (100, 100)


def test_questions_without_a_true_box_do_not_count(make_prediction):
    assert score(make_prediction, "nodule", ["[0,0,1,1]"]) == {}
