import shutil

import pytest
from PIL import Image

from medgraph.config import MedMATConfig
from medgraph.data.audit import audit
from medgraph.data.medmat import build_medmat
from medgraph.data.regroup import join_groups, regroup


def test_groups_are_joined_transitively():
    groups = {"1": "a", "2": "b", "3": "c", "4": "d"}
    assert join_groups(groups, [("1", "2"), ("2", "3")]) == {"1": "a", "2": "a", "3": "a", "4": "d"}
    assert join_groups(groups, []) == groups
    assert join_groups(groups, [("3", "2"), ("2", "1")]) == join_groups(groups, [("1", "2"), ("2", "3")])


def test_copies_that_a_split_would_separate_are_kept_together(make_release, tmp_path):
    labels = {"a": 30, "b": 30}
    root = make_release({3: labels, 5: labels, 28: labels})
    config = MedMATConfig(root=str(root), ood_subsets=["28"])
    before = build_medmat(config)
    for train, test in zip(before.splits["train"][:12:2], before.splits["test"][:12:2], strict=True):
        with Image.open(root / test.image) as image:
            Image.eval(image, lambda v: 240 - v * 4 // 5).save(root / train.image)
    assert not audit(build_medmat(config), root).clean
    assert regroup(root, tmp_path / "groups.csv") == 6
    shutil.copy(tmp_path / "groups.csv", root / "groups.csv")
    assert audit(build_medmat(config), root).clean
    with pytest.raises(ValueError, match="nothing is overwritten"):
        regroup(root, tmp_path / "groups.csv")
