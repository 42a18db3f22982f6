import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraph.evaluation.detection import intersection_and_union, parse_boxes, score_boxes


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


def test_scores_count_missing_and_repeated_boxes_as_wrong():
    truth = [(0, 0, 2, 2)] * 4
    score = score_boxes(truth, ["[0,0,2,2]", "[0,0,2,1]", "no box", "[0,0,2,2] or [1,1,2,2]"])
    assert (score.n, score.mean_iou, score.accuracy, score.unparsed) == (4, 1.5 / 4, 0.5, 0.5)
    assert score.cumulative_iou == pytest.approx((4 + 2) / 16)


def test_edge_cases():
    assert math.isnan(score_boxes([], []).mean_iou)
    for bad in [(0, 0, 0, 2), (2, 2, 0, 0)]:
        with pytest.raises(ValueError, match="has no area"):
            score_boxes([bad], ["[0,0,1,1]"])
