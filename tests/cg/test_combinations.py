from __future__ import annotations

from collections import Counter
from itertools import permutations, product

import pytest

from medgraph.cg.combinations import Combination, coarse, enumerate_combinations, exclusive_pairs
from medgraph.data.records import ELEMENTS, MATTriplet
from medgraph.data.registry import Registry, SubsetSpec, builtin


@pytest.fixture(scope="module")
def combinations() -> list[Combination]:
    return enumerate_combinations(builtin())


def test_counts_of_the_built_in_registry(combinations):
    pairs = [c for c in combinations if c.direction != "three_source"]
    assert Counter(c.direction for c in pairs) == {
        "fixed_modality": 64, "fixed_area": 10, "fixed_task": 26, "modality_area_pair": 81,
    }  # fmt: skip
    known = {spec.no for spec in builtin() if spec.role == "id"}
    inside = [c for c in pairs if set(c.related) <= known]
    assert Counter(c.direction for c in inside) == {
        "fixed_modality": 43, "fixed_area": 4, "fixed_task": 6, "modality_area_pair": 41,
    }  # fmt: skip
    assert len({c.target for c in inside}) == 19
    assert sum(c.coarse_leak for c in pairs) == 17
    three = [c for c in combinations if c.direction == "three_source"]
    assert (len(three), sum(set(c.related) <= known for c in three)) == (284, 66)


def test_exclusive_pairs_of_med_mat():
    assert exclusive_pairs(spec for spec in builtin() if spec.kind == "cls") == {
        ("Co", "Cervix"), ("DP", "Mouth"), ("Der", "Skin"), ("FP", "Fundus"), ("Mic", "Cell"), ("OCT", "Retina"),
    }  # fmt: skip


def test_the_parts_make_the_whole(combinations):
    """Under a view, every element of the target comes from a related subset, and none of them has all."""
    registry = builtin()
    for combination in combinations:
        for view in combination.views:
            related, _, task = view.partition("->")
            target = MATTriplet(*_pair(registry[combination.target]), task)
            shared = [
                MATTriplet(*_pair(registry[no]), tag).shared(target)
                for no, tag in zip(combination.related, related.split("+"), strict=True)
            ]
            assert frozenset().union(*shared) == frozenset(ELEMENTS)
            assert all(len(elements) < 3 for elements in shared)


def test_against_a_brute_force_over_two_of_each_element():
    """All eight triplets of two modalities, areas and tasks, by the definition."""
    triplets = [MATTriplet(*names) for names in product(("CT", "MRI"), ("Lung", "Brain"), ("level", "quality"))]
    registry = Registry(SubsetSpec(no, triplet) for no, triplet in enumerate(triplets, 1))
    found = {(c.direction, c.target, c.related) for c in enumerate_combinations(registry)}
    patterns = {
        "fixed_modality": [{"modality", "area"}, {"modality", "task"}],
        "fixed_area": [{"modality", "area"}, {"area", "task"}],
        "fixed_task": [{"modality", "task"}, {"area", "task"}],
        "three_source": [{"modality"}, {"area"}, {"task"}],
    }
    expected = {
        (direction, target, chosen)
        for direction, pattern in patterns.items()
        for target, *chosen in (list(p) for p in permutations(range(1, 9), len(pattern) + 1))
        for chosen in [tuple(chosen)]
        if all(triplets[no - 1].shared(triplets[target - 1]) == s for no, s in zip(chosen, pattern, strict=True))
    }
    assert found == expected
    assert len(found) == 8 * 4


def test_siblings_of_the_target_are_never_related(combinations):
    registry = builtin()
    for combination in combinations:
        assert all(registry[no].triplet != registry[combination.target].triplet for no in combination.related)


def test_a_parent_category_is_a_coarse_leak():
    lung = [("cancer", 1), ("state", 2), ("level", 3)]
    registry = Registry(
        [*(SubsetSpec(no, MATTriplet("CT", "Lung", task)) for task, no in lung),
         SubsetSpec(4, MATTriplet("CT", "Brain", "cancer")), SubsetSpec(5, MATTriplet("MRI", "Lung", "quality"))]
    )  # fmt: skip
    leaks = {(c.target, c.related): c.coarse_leak for c in enumerate_combinations(registry, ["fixed_modality"])}
    assert leaks[1, (2, 4)]  # Lung/state contains Lung/cancer
    assert not leaks[1, (3, 4)]
    assert coarse(MATTriplet("CT", "Lung", "covid")) == MATTriplet("CT", "Lung", "state")


def test_unknown_direction():
    with pytest.raises(ValueError, match="unknown direction 'sideways'; known: fixed_modality"):
        enumerate_combinations(builtin(), ["sideways"])  # type: ignore[list-item]


def _pair(spec: SubsetSpec) -> tuple[str, str]:
    return spec.triplet.modality, spec.triplet.area
