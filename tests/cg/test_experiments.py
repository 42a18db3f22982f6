import pytest

from medgraph.cg.experiments import CONDITIONS, OVERLAPS, Arm, Designer
from medgraph.cg.relations import Relations, task_names
from medgraph.config import ConfigError
from medgraph.data.records import ELEMENTS, MATTriplet
from medgraph.data.registry import Registry, SubsetSpec, builtin
from medgraph.data.subsets import read_pool

TARGET, LEVEL, FINDING = "x-ray/lung/finding", "x-ray/lung/level", "ct/brain/finding"


@pytest.fixture(scope="module")
def pool():
    return read_pool([{"name": "phantom", "num_train": 900, "num_val": 40, "num_modalities": 3, "num_areas": 3}])


@pytest.fixture(scope="module")
def designer(pool):
    return Designer(pool, 40)


def arms(experiment):
    return {arm.name: arm for arm in experiment.arms}


def test_relations_leave_out_target_siblings_and_shared_sources():
    registry = builtin()
    relations = Relations(registry, registry[29])
    assert "subset-37" in relations.left_out  # the same fine triplet
    assert all("triplet" in why or "shares" in why for why in relations.left_out.values())
    pool = {spec.key for spec in relations.pool}
    assert not pool & {"subset-29", *relations.left_out}
    assert len(pool) + len(relations.left_out) + 1 == len(registry)


def test_unrelated_subsets_share_nothing_under_any_name_of_a_task():
    registry = builtin()
    relations = Relations(registry, registry[28])  # X-ray/Lung/covid, also called state and diseases
    for spec in relations.pool:
        apart = spec.triplet.modality != "X-ray" and spec.triplet.area != "Lung"
        names = task_names(spec, relations.target)  # those of the twins of detection tasks too
        assert (spec.key in relations.unrelated()) == (apart and not names & {"covid", "state", "diseases"})
    assert not set(relations.unrelated()) & set(relations.related())
    without = {element: set(relations.related(without=element)) for element in ELEMENTS}
    assert all(element not in relations.shared(spec) for element in ELEMENTS for spec in relations.pool
               if spec.key in without[element])  # fmt: skip


def test_coverage_tells_atoms_from_pairs():
    specs = [SubsetSpec(i, MATTriplet(*text.split("/")), slug=text)
             for i, text in enumerate(("CT/Lung/cancer", "CT/Lung/state", "MRI/Brain/cancer"), start=1)]  # fmt: skip
    relations = Relations(Registry(specs), specs[0])
    found = relations.coverage(["CT/Lung/state", "MRI/Brain/cancer"])
    assert {name for name, there in found.items() if there} == {"modality", "area", "task", "modality+area"}


def test_all_arms_of_a_combination_train_on_equally_many_images(designer):
    experiment = designer.recombine(TARGET, (LEVEL, FINDING), conditions=CONDITIONS)
    found = arms(experiment)
    assert set(found) == {"placebo", "zero_shot", "related", f"alone {LEVEL}", f"alone {FINDING}", "label_shuffled",
                          "baseline_plus", "only_modality", "only_area", "only_task", "target"}  # fmt: skip
    capacity = designer.capacity(TARGET)
    for name, arm in found.items():
        counts = arm.counts(capacity, TARGET, seed=1)
        assert all(count <= capacity[key] for key, count in counts.items())
        if name not in ("zero_shot", "target") and not name.startswith("alone"):
            assert sum(counts.values()) == 40
        if name != "target":
            assert TARGET not in counts
    assert found["label_shuffled"].shuffled
    assert set(found["target"].counts(capacity, TARGET, 0)) == {TARGET}


def test_controls_share_what_their_names_say(designer, pool):
    target = next(spec for spec in pool.registry if spec.key == TARGET).triplet
    triplets = {spec.key: spec.triplet for spec in pool.registry}
    found = arms(designer.recombine(TARGET, (LEVEL, FINDING), conditions=CONDITIONS))
    for name, arm in found.items():
        if name.startswith("only_") or name in ("baseline_plus", "placebo"):
            shared = {frozenset(triplets[key].shared(target)) for key in arm.subsets}
            assert shared == {frozenset({name.removeprefix("only_")} if name.startswith("only_") else ())}
    capacity = designer.capacity(TARGET)
    assert len(found["placebo"].subsets) >= 2
    assert sum(capacity[key] for key in found["placebo"].subsets[:-1]) < 40 or len(found["placebo"].subsets) == 2


def test_random_arms_are_drawn_anew_with_every_seed_and_again_the_same(designer):
    arm, capacity = arms(designer.recombine(TARGET, (LEVEL, FINDING)))["baseline_plus"], designer.capacity(TARGET)
    assert arm.counts(capacity, TARGET, 0) == arm.counts(capacity, TARGET, 0) != arm.counts(capacity, TARGET, 1)


def test_a_control_that_is_too_small_makes_all_arms_smaller_or_is_left_out(designer, monkeypatch):
    full = designer.capacity(TARGET)
    unrelated = arms(designer.recombine(TARGET, (LEVEL, FINDING)))["baseline_plus"].subsets
    for each, expected in ((2, True), (0, False)):
        small = {key: each if key in unrelated else count for key, count in full.items()}
        monkeypatch.setitem(designer._capacity, TARGET, small)
        experiment = designer.recombine(TARGET, (LEVEL, FINDING), conditions=("baseline_plus",))
        assert ("baseline_plus" in arms(experiment)) == expected
        images = 2 * len(unrelated) if expected else 40
        assert arms(experiment)["related"].images == images
        text = f"all arms have {images} images" if expected else "no arm baseline_plus: 0 images for 40"
        assert any(text in flag for flag in experiment.flags)


def test_breaking_takes_an_element_away_and_random_subsets_as_a_control(designer, pool):
    experiment = designer.break_up(TARGET)
    found, capacity = arms(experiment), designer.capacity(TARGET)
    everything = set(found["all_related"].subsets)
    target = next(spec for spec in pool.registry if spec.key == TARGET).triplet
    triplets = {spec.key: spec.triplet for spec in pool.registry}
    for element in ELEMENTS:
        left = set(found[f"without_{element}"].subsets)
        assert left == {key for key in everything if element not in triplets[key].shared(target)}
        control = found[f"without_random for {element}"]
        kept = control.counts(capacity, TARGET, 0)
        assert len(kept) == len(left)
        assert set(kept) <= everything
    assert {sum(arm.counts(capacity, TARGET, 0).values()) for arm in experiment.arms[1:]} == {40}
    assert experiment.arms[0] == Arm("zero_shot")
    assert set(found["all_data"].subsets) == everything | set(found["all_unrelated"].subsets)


def test_arms_of_an_overlap_share_so_many_elements_and_are_equally_large(designer, pool):
    experiment = designer.overlap(TARGET)
    target = next(spec for spec in pool.registry if spec.key == TARGET).triplet
    triplets = {spec.key: spec.triplet for spec in pool.registry}
    found, capacity = arms(experiment), designer.capacity(TARGET)
    assert list(found) == ["zero_shot", "zero_overlap", "one_shared", "two_shared"]
    assert "no arm three_shared: no images" in experiment.flags
    for number, name in enumerate(OVERLAPS[:3]):
        assert {len(triplets[key].shared(target)) for key in found[name].subsets} == {number}
        assert sum(found[name].counts(capacity, TARGET, 0).values()) == 40


def test_low_data_and_scale_walk_their_grids(designer):
    low = arms(designer.low_data(TARGET, grid=(0, 5, 9999)))
    assert set(low) == {"zero_shot", "related + 0 target", "related + 5 target", "unrelated + 0 target",
                        "unrelated + 5 target", "5 target"}  # fmt: skip
    assert low["related + 5 target"].counts(designer.capacity(TARGET), TARGET, 0)[TARGET] == 5
    own = designer.capacity(TARGET)[TARGET]
    assert designer.low_data(TARGET, grid=(5, 9999)).flags == (
        f"no arms of 9999: there are {own} images of the target",
    )
    assert designer.low_data(TARGET, grid=(5,)).flags == ()
    assert "no arms of 9999: there are 40 images" in designer.scale(TARGET, grid=(10, 9999)).flags[0]
    scale = arms(designer.scale(TARGET, grid=(0, 10, 20, 9999)))
    assert set(scale) == {"zero_shot", "10 related", "20 related", "10 unrelated", "20 unrelated"}


def test_a_single_task_is_trained_in_as_many_epochs_and_in_as_many_steps(designer):
    found = arms(designer.multi_task(TARGET))
    own, images = found["single_task"].target_images, found["multi_task"].images
    assert found["single_task"].steps == pytest.approx(own / (own + images))
    assert found["single_task, as many steps"].steps == found["multi_task"].steps == 1
    assert TARGET not in found["multi_task"].subsets


def test_impossible_experiments_say_why(designer, monkeypatch):
    with pytest.raises(ConfigError, match="target 'CT': no such subset; there are ct/brain/finding"):
        designer.break_up("CT")
    monkeypatch.setitem(designer._capacity, TARGET, dict.fromkeys(designer.capacity(TARGET), 0))
    with pytest.raises(ConfigError, match=f"{LEVEL}: has no training image"):
        designer.recombine(TARGET, (LEVEL,))
    for make, message in ((designer.break_up, "nothing can be broken"), (designer.overlap, "no overlap to compare"),
                          (designer.low_data, "no related subset"),
                          (designer.multi_task, "has no training images of its own")):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            make(TARGET)


def test_conditions_are_all_known():
    assert len(set(CONDITIONS)) == len(CONDITIONS)
