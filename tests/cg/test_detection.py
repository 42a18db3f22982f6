"""A masks source beside classification sources: planned, scored by IoU, run."""

import json

import numpy as np
import pytest
from PIL import Image

from medgraph.cg.plan import arguments, describe, make_plan
from medgraph.cg.starts import base_config
from medgraph.config import parse
from medgraph.data import build_corpus
from medgraph.evaluation.scoring import strict_score

SKIN, INTESTINE, LABELS = "skin", "intestine", "polyps-and-none"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Boxes on skin and in the intestine, and classes of the intestine."""
    root, rng = tmp_path_factory.mktemp("boxes"), np.random.default_rng(0)
    found = []
    for name, triplet in ((SKIN, "Der/Skin/lesion_det"), (INTESTINE, "End/Intestine/polyp_det")):
        for i in range(24):
            mask = np.zeros((32, 32), np.uint8)
            top, left = rng.integers(0, 20, 2)
            mask[top : top + 10, left : left + 8] = 255
            for folder, pixels in (("masks", mask), ("images", mask // 2 + 60)):
                (root / name / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / name / folder / f"{i}.png")
        found.append({"name": "masks", "root": str(root / name), "triplet": triplet, "classes": ["255:finding"]})
    for label in ("polyp", "normal"):
        (root / LABELS / label).mkdir(parents=True)
        for i in range(16):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(root / LABELS / label / f"{i}.png")
    return [*found, {"name": "folder", "root": str(root / LABELS), "triplet": ["End/Intestine/diseases"]}]


@pytest.fixture(scope="module")
def made(sources):
    return make_plan(sources, kinds=["detection"], targets=[INTESTINE], seeds=1, images=12,
                     overrides=("stage1.steps=1", "stage2.steps=2", "trainer.accelerator=cpu"))  # fmt: skip


def test_boxes_elsewhere_and_classes_here_on_top_of_some_target_images(made):
    (experiment,) = made.experiments
    assert (experiment.kind, experiment.direction) == ("detection", "modality_area_pair")
    assert experiment.related == (LABELS, SKIN)
    runs = {arm.name: runs[0] for _, _, arm, runs in describe(made)}
    own = runs["zero_shot"], *(run for name, run in runs.items() if name.endswith(" target"))
    assert [run.counts.get(INTESTINE, 0) for run in own][1:] == [own[1].counts[INTESTINE]] * (len(own) - 1)
    related = next(run for name, run in runs.items() if name.startswith("related + "))
    assert sum(count for key, count in related.counts.items() if key != INTESTINE) == 12
    config = parse(base_config(), arguments(made, related))
    corpus = build_corpus(config.data)
    assert {record.subset for record in corpus.splits["train"]} == {SKIN, INTESTINE, LABELS}
    for record in corpus.splits["ood"]:
        assert strict_score(record.answer, record.answer, "open") == 1
        assert 0 <= strict_score(record.answer, "{<0><0><50><50>}", "open") < 1


@pytest.mark.slow
def test_a_plan_of_boxes_runs_and_is_scored_by_iou(made, tmp_path):
    from rich.console import Console

    from medgraph.cg.execute import result_file, run_plan, unfinished
    from medgraph.cg.verdicts import read_scores

    made.save(tmp_path)
    run_plan(tmp_path, 1, Console(width=200))
    assert unfinished(tmp_path, made) == []
    for key in made.runs:
        file = result_file(tmp_path, key, "predictions.jsonl")
        points = read_scores([file]).points
        assert ((points >= 0) & (points <= 1)).all()
        assert all(json.loads(line)["question_type"] == "polyp_det" for line in file.read_text().splitlines())
