import dataclasses
import json

import pytest

from medgraph.cg.contributions import features
from medgraph.cg.finished import Gain, read_gains
from medgraph.cg.plan import describe, make_plan
from medgraph.cg.relations import Relations
from medgraph.cg.suggest import suggest
from medgraph.config import ConfigError
from medgraph.data.records import MATTriplet
from medgraph.data.registry import Registry, SubsetSpec, builtin
from medgraph.evaluation.predictions import Prediction

MODALITY, AREA, TASK = map(frozenset, (["modality"], ["area"], ["task"]))


def registry(*triplets):
    return Registry(SubsetSpec(i, MATTriplet.parse(t), slug=t) for i, t in enumerate(triplets, start=1))


SMALL = registry("CT/Lung/level", "CT/Lung/quality", "CT/Brain/level", "MRI/Lung/level", "MRI/Brain/level",
                 "CT/Skin/quality", "MRI/Skin/quality")  # fmt: skip
TARGET = next(iter(SMALL))


def test_sets_that_complete_the_target_come_first():
    advice = suggest(SMALL, TARGET)
    relations = Relations(SMALL, TARGET)
    assert {one.subsets[0] for one in advice.single} == {spec.key for spec in relations.pool if relations.shared(spec)}
    assert advice.unrelated == 1
    found = {one.subsets: one for one in advice.together}
    complete = [one for one in advice.together if not {"modality", "area", "task"} & set(one.missing)]
    assert list(advice.together[: len(complete)]) == complete
    assert found["CT/Lung/quality", "CT/Brain/level"].directions == ("fixed_modality",)
    assert found["CT/Lung/quality", "CT/Brain/level"].missing == ("area+task",)
    three = suggest(SMALL, TARGET, pick=3).together[0]
    assert len(three.subsets) == 3
    assert not {"modality", "area", "task"} & set(three.missing)


def test_published_rows_and_warnings_of_the_built_in_subsets():
    target = builtin()[4]  # CT/Lung/cancer
    advice = suggest(builtin(), target, top=60)
    covid = next(one for one in advice.single if one.subsets == ("subset-03",))
    assert covid.shared == (("modality", "area", "task as state"),)
    assert covid.mind == ("subset-03 equals the target at the parent level",)
    assert "T3.1" in covid.published
    pairs = {one.subsets: one for one in suggest(builtin(), target, top=1000).together}
    assert pairs["subset-03", "subset-06"].published == ("T3.1",)
    assert "T3.24" in pairs["subset-06", "subset-28"].published
    assert suggest(builtin(), builtin()[29]).left_out["subset-37"].startswith("has the target's triplet")


def test_larger_subsets_come_first_and_empty_ones_are_left_out():
    capacity = {spec.key: 50 for spec in SMALL} | {"CT/Skin/quality": 3000, "MRI/Brain/level": 0}
    advice = suggest(SMALL, TARGET, capacity, images=1000)
    assert advice.left_out["MRI/Brain/level"] == "has no image that may train"
    by_key = {one.subsets[0]: one for one in advice.single}
    assert by_key["CT/Skin/quality"].images == (1000,)
    same = suggest(SMALL, TARGET, dict.fromkeys(capacity, 50))
    assert by_key["CT/Skin/quality"].expected.mean > next(
        one.expected.mean for one in same.single if one.subsets == ("CT/Skin/quality",)
    )


def gain(shared, points, subset="somewhere/else/at_all", target="elsewhere", runs=3):
    return Gain(target, (subset,) * len(shared), tuple(shared), (3000.0,) * len(shared), points, runs)


def test_finished_runs_change_the_order_and_are_named_as_evidence():
    gains = [gain([shared], points, target=f"target {i}") for i in range(6)
             for shared, points in ((MODALITY, 20.0), (AREA, 0.0), (TASK, 0.0))]  # fmt: skip
    before, after = suggest(SMALL, TARGET), suggest(SMALL, TARGET, gains=gains)
    places = [[one.subsets[0] for one in advice.single].index("CT/Skin/quality") for advice in (before, after)]
    assert places[1] < places[0]
    assert (before.runs, after.runs, after.arms) == (0, 54, 18)
    first = next(one for one in after.single if one.subsets == ("CT/Skin/quality",))
    assert (first.runs, first.measured) == (18, None)
    own = suggest(SMALL, TARGET, gains=[gain([MODALITY], 7.5, "CT/Skin/quality", TARGET.key)])
    assert next(one.measured for one in own.single if one.subsets == ("CT/Skin/quality",)) == 7.5


@pytest.mark.parametrize(
    ("subsets", "options", "message"),
    [
        (SMALL, {"pick": 4}, "pick=4: expected 2 to 3"),
        (registry("CT/Lung/level", "MRI/Brain/state"), {}, "no related subset is left, 1 share nothing with it"),
        (SMALL, {"capacity": {spec.key: 0 for spec in SMALL}}, "CT/Brain/level has no image that may train"),
    ],
)
def test_impossible_advice_says_why(subsets, options, message):
    with pytest.raises(ConfigError, match=message):
        suggest(subsets, next(iter(subsets)), **options)


SOURCE = {"name": "phantom", "num_train": 300, "num_val": 20, "num_modalities": 2, "num_areas": 2}
LUNG, LEVEL, FINDING = "x-ray/lung/finding", "x-ray/lung/level", "ct/brain/finding"


def predictions(run, rate):
    """Ten questions of which a share is right."""
    place = {"split": "ood", "subset": run.target, "triplet": "a/b/c", "question_type": "t", "answer_type": "open"}
    rows = [Prediction(id=f"q{i}", image_id=f"i{i}", score=float(i < 10 * rate), prompt="", answer="x", prediction="x",
                       **place) for i in range(10)]  # fmt: skip
    return "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows)


def test_gains_are_read_from_the_runs_of_a_plan(tmp_path):
    plan = make_plan([SOURCE], targets=[LUNG], related=[LEVEL, FINDING], seeds=2, images=20,
                     conditions=["zero_shot", "alone", "label_shuffled", "target"],
                     overrides=("stage1.steps=1", "stage2.steps=2", "trainer.accelerator=cpu"))  # fmt: skip
    plan.save(tmp_path)
    with pytest.raises(ConfigError, match=f"medgraph cg run {tmp_path}"):
        read_gains([tmp_path])
    rates = {"zero_shot": 0.2, "related": 0.6, f"alone {LEVEL}": 0.5}
    for _, _, arm, runs in describe(plan):
        for run in runs if arm.name != f"alone {FINDING}" else ():
            folder = tmp_path / "runs" / run.key
            folder.mkdir(parents=True)
            (folder / "predictions.jsonl").write_text(predictions(run, rates.get(arm.name, 0.9)))
            (folder / "report.html").touch()
    found = {one.subsets: one for one in read_gains([tmp_path, tmp_path])}
    assert found.keys() == {(LEVEL,), (FINDING, LEVEL)}  # neither shuffled labels nor the target, and done
    assert found[FINDING, LEVEL].points == pytest.approx(40)
    assert found[FINDING, LEVEL].shared == (TASK, MODALITY | AREA)
    assert found[FINDING, LEVEL].images == (10, 10)
    assert found[LEVEL,].runs == 2
    assert features(found[LEVEL,].shared, found[LEVEL,].images)[4] > 0
