import dataclasses

import pytest

from medgraph.config import ConfigError, ExperimentConfig, SubsetsConfig, validate
from medgraph.data import build_corpus
from medgraph.data.subsets import PHANTOM_TASKS, read_pool

SOURCE = {"name": "phantom", "num_train": 300, "num_val": 40, "num_modalities": 2, "num_areas": 2}
TARGET, RELATED, SAME_AREA = "x-ray/lung/finding", "x-ray/lung/size", "ct/lung/finding"


@pytest.fixture(scope="module")
def pool():
    return read_pool([SOURCE])


def build(**changes):
    return build_corpus(SubsetsConfig(sources=[SOURCE], target=TARGET, **changes))


def images(records):
    return {record.image_id for record in records}


def test_the_tasks_of_phantoms_are_their_questions(pool):
    assert len(pool.registry) == 2 * 2 * len(PHANTOM_TASKS)
    spec = next(spec for spec in pool.registry if spec.key == TARGET)
    assert (spec.triplet.modality, spec.triplet.area, spec.triplet.task) == ("x-ray", "lung", "finding")
    assert all(record.question_type == "finding" for record in pool.records[TARGET])
    assert all(record.label == record.answer for record in pool.records[TARGET])


def test_exact_numbers_of_images_train_and_half_of_the_target_tests(pool):
    corpus = build(train=[f"{RELATED}:12", f"{SAME_AREA}:9"])
    train, test = corpus.splits["train"], corpus.splits["ood"]
    assert {key: len(images(r for r in train if r.subset == key)) for key in (RELATED, SAME_AREA)} == {
        RELATED: 12,
        SAME_AREA: 9,
    }
    assert {record.subset for record in test} == {TARGET}
    labels = [record.label for record in test]
    assert len({labels.count(label) for label in labels}) == 1 or 2 * len(test) >= len(labels)
    assert 0.2 * len(pool.records[TARGET]) < len(test) <= 0.7 * len(pool.records[TARGET])


def test_no_test_image_trains_or_validates_in_any_subset(pool):
    tested = images(pool.test_set(TARGET))
    shared = tested & images(pool.records[RELATED])
    assert shared  # the same images are asked about their size
    for subset in pool.records:
        seen = images(pool.training(subset, TARGET)) | images(pool.validating(subset, TARGET))
        assert not tested & seen
    assert pool.validating(TARGET, TARGET) == []
    assert not images(pool.training(RELATED, TARGET)) & pool.validation


def test_the_test_set_does_not_depend_on_what_trains():
    one = build(train=[f"{RELATED}:12"]).splits["ood"]
    assert build(train=[]).splits["ood"] == one == build(train=[f"{TARGET}:5"], seed=0).splits["ood"]


def test_arms_share_the_images_of_a_subset_and_smaller_numbers_are_contained():
    small = images(build(train=[f"{RELATED}:5"]).splits["train"])
    more = build(train=[f"{RELATED}:12", f"{SAME_AREA}:9"]).splits["train"]
    assert small < images(record for record in more if record.subset == RELATED)


def test_shuffled_images_keep_texts_and_images_and_lose_what_joins_them(pool):
    true, shuffled = (build(train=[f"{RELATED}:20"], labels=labels).splits["train"] for labels in ("true", "shuffled"))
    assert [record.answer for record in true] == [record.answer for record in shuffled]
    assert images(true) == images(shuffled)
    truth = {record.image_id: record.answer for record in pool.records[RELATED]}
    assert all(truth[record.image_id] == record.answer for record in true)
    assert any(truth[record.image_id] != record.answer for record in shuffled)
    assert {record.image for record in true} == {record.image for record in shuffled}


def test_all_arms_have_one_vocabulary():
    assert build(train=[f"{RELATED}:5"]).vocabulary == build(train=[]).vocabulary
    assert "severe" in build(train=[]).vocabulary


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["x-ray/lung/size"]}, "data.train=x-ray/lung/size: expected subset:images"),
        ({"train": ["nothing:3"]}, "data.train=nothing:3: expected subset:images, each subset once, out of ct/brain"),
        ({"train": [f"{RELATED}:3", f"{RELATED}:4"]}, "each subset once"),
        ({"train": [f"{RELATED}:9999"]}, "data.train: x-ray/lung/size: 9999 images wanted, "),
        ({"fraction": 0.5}, "data.fraction=0.5: data.train says how many images train"),
    ],
)
def test_mistakes_name_key_and_way_out(changes, message):
    with pytest.raises(ConfigError) as error:
        build(**changes)
    assert message in str(error.value)


@pytest.mark.parametrize("data", [SubsetsConfig(target=TARGET), SubsetsConfig(sources=[SOURCE])])
def test_a_configuration_needs_sources_and_target(data):
    with pytest.raises(ConfigError, match="data=subsets needs both"):
        validate(ExperimentConfig(data=data))


def test_unknown_targets_and_sources_are_refused():
    with pytest.raises(ConfigError, match=r"data.target=CT: no such subset; there are ct/brain/finding, "):
        build_corpus(dataclasses.replace(SubsetsConfig(sources=[SOURCE]), target="CT"))
    with pytest.raises(ConfigError, match=r"data.sources\[0\]=.*: expected the name of a plain source"):
        build_corpus(SubsetsConfig(sources=[{"name": "subsets"}], target=TARGET))
    with pytest.raises(ConfigError, match=r"data.sources\[0\]: num_tain=3: unknown key"):
        build_corpus(SubsetsConfig(sources=[{"name": "phantom", "num_tain": 3}], target=TARGET))
