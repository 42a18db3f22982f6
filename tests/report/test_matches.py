import json

import numpy as np
import pytest

from medgraph.report.matches import draw_matches, match_pictures, read_matches


@pytest.fixture
def folder(tmp_path):
    """Three samples, CT, MRI and CT; the first image is matched to itself and to the third, the last to nothing."""
    first = {"step": 1, "table": [[0.5, 0, 0.5], [0, 1, 0], [0, 0, 0]], "right": np.eye(3, dtype=int).tolist()}
    last = {"step": 9, "table": np.eye(3).tolist(), "right": np.eye(3, dtype=int).tolist()}
    stages = {"stage2": {"first": {**first, "modality": ["CT", "MRI", "CT"]}, "last": {**last, "modality": []}}}
    (tmp_path / "matches.json").write_text(json.dumps(stages))
    return tmp_path


def test_samples_are_sorted_by_modality_and_matches_stay_theirs(folder):
    first, last = read_matches(folder / "matches.json")["stage2"]
    assert first.groups == ["CT", "CT", "MRI"]
    assert first.table.tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]]
    assert first.share_right == pytest.approx(0.5)
    assert last.share_right == 1


def test_every_match_is_a_square_and_every_named_group_a_label(folder):
    figure = draw_matches(read_matches(folder / "matches.json")["stage2"], "stage2")
    first, last = figure.axes
    assert len(first.collections[0].get_paths()) == 3
    assert len(last.collections[0].get_paths()) == 3
    assert [label.get_text() for label in first.get_yticklabels()] == ["CT", "MRI"]
    assert first.get_title() == "step 1: 50.0 % right"


def test_report_has_a_picture_a_stage_and_none_without_alignment(folder, tmp_path_factory):
    (picture,) = match_pictures(folder)
    assert "step 1 and step 9" in picture.caption
    assert "<svg" in picture.svg
    assert match_pictures(tmp_path_factory.mktemp("none")) == []
