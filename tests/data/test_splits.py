from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgraph.data.records import MATTriplet
from medgraph.data.splits import (
    SHARES,
    choose_ood,
    split_of,
    take_balanced,
    take_strictly_balanced,
    water_fill,
)


def reference_fill(counts, total):
    """Hand out one image at a time to the label that has the fewest so far and is not exhausted."""
    taken = dict.fromkeys(counts, 0)
    for _ in range(min(total, sum(counts.values()))):
        label = min((name for name in counts if taken[name] < counts[name]), key=lambda name: taken[name])
        taken[label] += 1
    return taken


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 150)
)
def test_water_fill_equals_handing_out_one_by_one(counts, total):
    taken = water_fill(counts, total)
    assert sum(taken.values()) == min(total, sum(counts.values()))
    assert sorted(taken.values()) == sorted(reference_fill(counts, total).values())
    assert all(taken[label] <= counts[label] for label in counts)


def test_water_fill_refuses_a_negative_total():
    with pytest.raises(ValueError, match="total=-1"):
        water_fill({"a": 3}, -1)


def images(**counts):
    return {f"{label}-{i}": label for label, count in counts.items() for i in range(count)}


def test_cap_is_exact_and_balanced_and_deterministic():
    labels = images(a=50, b=50, c=10)
    chosen = take_balanced(labels, 70, seed=0)
    assert Counter(labels[image] for image in chosen) == {"a": 30, "b": 30, "c": 10}
    assert chosen == take_balanced(dict(reversed(labels.items())), 70, seed=0)
    assert chosen != take_balanced(labels, 70, seed=1)
    assert take_balanced(labels, 1000, seed=0) == set(labels)


def test_adding_images_of_one_label_keeps_the_others():
    before, after = images(a=50, b=20), images(a=60, b=20)
    chosen_before, chosen_after = take_balanced(before, 30, seed=3), take_balanced(after, 30, seed=3)
    assert {i for i in chosen_before if before[i] == "b"} == {i for i in chosen_after if after[i] == "b"}


def test_strict_balance():
    labels = images(a=9, b=5, c=1)

    def count(**options):
        return Counter(labels[i] for i in take_strictly_balanced(labels, 0, **options))

    assert count() == {"a": 1, "b": 1, "c": 1}
    assert count(min_per_label=2) == {"a": 5, "b": 5}
    assert count(min_per_label=2, max_per_label=3) == {"a": 3, "b": 3}
    assert count(min_per_label=10) == {}


def test_split_shares_and_independence():
    names = [f"group-{i}" for i in range(20_000)]
    shares = Counter(split_of(name, 0) for name in names)
    for split, share in SHARES.items():
        assert shares[split] / len(names) == pytest.approx(share, abs=3 * np.sqrt(share / len(names)))
    agree = sum(split_of(name, 0) == split_of(name, 1) for name in names) / len(names)
    assert agree == pytest.approx(sum(share**2 for share in SHARES.values()), abs=0.02)


def triplets(**texts):
    return {name: MATTriplet.parse(text) for name, text in texts.items()}


def test_held_out_elements_stay_covered():
    known = triplets(
        a="CT/Lung/cancer", b="CT/Brain/state", c="X-ray/Lung/state", d="MRI/Brain/cancer", e="US/Breast/level"
    )
    for seed in range(20):
        held = choose_ood(known, {}, seed, share=0.4)
        assert held
        remaining = [triplet for name, triplet in known.items() if name not in held]
        for name in held:
            for element in ("modality", "area", "task"):
                assert getattr(known[name], element) in {getattr(triplet, element) for triplet in remaining}


def test_subsets_of_one_triplet_are_held_out_together():
    known = triplets(
        a="CT/Lung/cancer", b="CT/Lung/cancer", c="CT/Brain/state", d="X-ray/Lung/state", e="MRI/Brain/cancer"
    )
    assert any(choose_ood(known, {}, seed, share=0.4) == {"a", "b"} for seed in range(20))
    assert all(len(choose_ood(known, {}, seed, share=0.4) & {"a", "b"}) != 1 for seed in range(20))


def test_a_shared_source_is_passed_over_when_possible():
    known = triplets(a="CT/Lung/cancer", b="CT/Brain/cancer", c="MRI/Lung/cancer", d="MRI/Brain/cancer")
    sources = {"a": frozenset("x"), "b": frozenset("x"), "c": frozenset("x"), "d": frozenset("y")}
    assert {frozenset(choose_ood(known, sources, seed)) for seed in range(20)} == {frozenset("d")}
    everywhere = dict.fromkeys(known, frozenset("x"))
    assert choose_ood(known, everywhere, 0)


def test_nothing_is_held_out_if_nothing_can_be():
    assert choose_ood(triplets(a="CT/Lung/cancer", b="US/Breast/level"), {}, 0) == set()
