from collections import Counter

import numpy as np
import pytest

from medgraph.data.boxes import box_text, clean_box, mask_boxes, next_chat_entry


def test_outermost_pixels_of_each_class_or_component():
    mask = np.zeros((10, 12), np.uint8)
    mask[1:3, 2:5] = 1
    mask[6:9, 8:12] = 1
    mask[5, 0] = 2
    assert mask_boxes(mask) == [(1, (2, 1, 12, 9)), (2, (0, 5, 1, 6))]
    assert mask_boxes(mask, "component") == [(1, (2, 1, 5, 3)), (1, (8, 6, 12, 9)), (2, (0, 5, 1, 6))]
    for value, (x1, y1, x2, y2) in mask_boxes(mask):
        rows, columns = np.where(mask == value)
        assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_diagonal_pixels_are_one_component_and_empty_masks_give_none():
    assert len(mask_boxes(np.eye(4, dtype=int), "component")) == 1
    assert mask_boxes(np.zeros((3, 3), int)) == []
    with pytest.raises(ValueError, match=r"shape \(3, 3, 3\)"):
        mask_boxes(np.zeros((3, 3, 3), int))


@pytest.mark.parametrize(
    ("box", "cleaned", "counted"),
    [
        ((1, 2, 5, 6), (1, 2, 5, 6), {}),
        ((5, 6, 1, 2), (1, 2, 5, 6), {"boxes flipped": 1}),
        ((-3, 2, 50, 6), (0, 2, 10, 6), {"boxes clipped to the image": 1}),
        ((3, 2, 3, 6), None, {"boxes without area, rejected": 1}),
        ((20, 20, 30, 30), None, {"boxes without area, rejected": 1}),
    ],
)
def test_wrong_boxes_are_repaired_or_rejected_and_counted(box, cleaned, counted):
    counts = Counter()
    assert clean_box(box, 10, 10, counts) == cleaned
    assert +counts == counted


def test_boxes_that_are_none():
    with pytest.raises(ValueError, match="expected four finite numbers"):
        clean_box((1, 2, float("nan"), 4), 10, 10, Counter())
    with pytest.raises(ValueError, match="no boxes to write"):
        box_text([], 10, 10)
    with pytest.raises(ValueError, match="style 'x'"):
        box_text([(0, 0, 1, 1)], 10, 10, "x")


def test_next_chat_keeps_boxes_beside_the_text():
    boxes = [(1.0, 2.0, 5.0, 6.0), (0.0, 0.0, 3.0, 4.0)]
    entry = next_chat_entry("a.png", "Where?", boxes, 10, 8)
    (question, answer) = entry["conversations"]
    assert question == {"from": "human", "value": "<image> Where?"}
    assert [entry["target"]["boxes"][i] for i in answer["boxes_seq"][0]] == [list(box) for box in boxes]
    assert answer["value"].count("<at> <boxes>") == len(answer["boxes_seq"])
    with pytest.raises(ValueError, match="no boxes to write"):
        next_chat_entry("a.png", "Where?", [], 10, 8)
