"""Independence, determinism and the hold-out of the phantom's factors."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import astuple
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, kstest

from medgraph.config import ConfigError, PhantomConfig
from medgraph.data.phantom.factors import SPLIT_CAPACITY, SPLITS, FactorSpace, Nuisance

NAMES = ("modality", "area", "finding", "side", "level", "size", "severity")
FULL = {"num_modalities": 7, "num_areas": 7, "num_findings": 7}


def draw(count: int = 4000, **options):
    space = FactorSpace(PhantomConfig(**options))
    return [space.draw(index) for index in range(count)]


def dependence(factors, first: str, second: str) -> float:
    """P value of the chi-square test that two named factors are independent."""
    pairs = Counter((getattr(item, first), getattr(item, second)) for item in factors)
    rows, columns = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs})
    return float(chi2_contingency([[pairs[a, b] for b in columns] for a in rows]).pvalue)


def test_factors_are_independent_in_pairs():
    factors = draw(holdout=0, **FULL)
    p_values = {pair: dependence(factors, *pair) for pair in combinations(NAMES, 2)}
    assert min(p_values.values()) > 0.01 / len(p_values), p_values


def test_hold_out_leaves_location_and_grade_independent_of_the_triplet():
    factors = draw()
    p_values = {(a, b): dependence(factors, a, b) for a in NAMES[:3] for b in NAMES[3:]}
    assert min(p_values.values()) > 0.01 / len(p_values), p_values


def test_nuisance_is_uniform_in_its_range_whatever_the_modality():
    factors = draw()
    for position, (low, high) in enumerate(zip(Nuisance.LOW, Nuisance.HIGH, strict=True)):
        for modality in ("x-ray", "mri"):
            values = [astuple(item.nuisance)[position] for item in factors if item.modality == modality]
            assert kstest(values, "uniform", args=(low, high - low)).pvalue > 1e-3


def test_entanglement_ties_the_area_to_the_modality():
    assert dependence(draw(2000, entanglement=0.5), "modality", "area") < 1e-6
    tied = {(item.modality, item.area) for item in draw(500, entanglement=1.0)}
    assert tied == {("x-ray", "lung"), ("ct", "brain"), ("mri", "kidney"), ("ultrasound", "breast")}


def test_an_index_decides_its_factors_alone():
    first, second = FactorSpace(PhantomConfig()), FactorSpace(PhantomConfig(num_train=3, fraction=0.1))
    assert first.draw(41) == second.draw(41) != first.draw(42)
    assert first.draw(41) != FactorSpace(PhantomConfig(seed=1)).draw(41)


@pytest.mark.parametrize(("options", "held"), [({}, 8), (FULL, 43), ({"holdout": 0.0}, 0), ({"holdout": 0.5}, 32)])
def test_hold_out_is_balanced_and_keeps_every_pair_in_training(options, held):
    space = FactorSpace(PhantomConfig(**options))
    assert len(space.unseen) == held
    assert not set(space.seen) & set(space.unseen)
    count = len(space.modalities)
    for one, other in combinations(range(3), 2):
        assert len({(astuple(triplet)[one], astuple(triplet)[other]) for triplet in space.seen}) == count**2
    for element in range(3):
        taken = Counter(astuple(triplet)[element] for triplet in space.unseen)
        assert len(taken) in (0, count)
        assert not taken or max(taken.values()) - min(taken.values()) <= 1


def test_ood_indices_draw_held_out_triplets_only():
    space = FactorSpace(PhantomConfig(**FULL))
    for number, split in enumerate(SPLITS):
        triplets = {space.draw(number * SPLIT_CAPACITY + i).triplet for i in range(100)}
        assert triplets <= set(space.unseen if split == "ood" else space.seen)


def test_seen_combinations_are_equally_frequent():
    space = FactorSpace(PhantomConfig())
    counts = Counter(space.draw(index).triplet for index in range(5600))
    assert len(counts) == len(space.seen) == 56
    assert np.std(list(counts.values())) < 15  # Poisson: 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_areas": 8}, r"data.num_areas=8 is outside 2 to 7: lung, brain"),
        ({"num_findings": 1}, r"data.num_findings=1 is outside 2 to 7"),
        ({"entanglement": 1.5}, r"data.entanglement=1.5 is not a share"),
        ({"interaction": -1.0}, r"data.interaction=-1.0 is not a share"),
        ({"holdout": -0.1}, r"data.holdout=-0.1 is not a share"),
        ({"holdout": 0.9}, r"holdout=0.9 asks for 58 of 64 combinations.*lower data.holdout"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        FactorSpace(PhantomConfig(**options))


def test_interaction_gives_every_pair_looks_of_its_own():
    config = PhantomConfig(num_modalities=3, num_areas=3, holdout=0.0, interaction=1.0)
    space, plain = FactorSpace(config), FactorSpace(dataclasses.replace(config, interaction=0.0))
    looks: dict[tuple[str, str], dict[str, str]] = {}
    for index in range(600):
        factors = space.draw(index)
        assert plain.appearance(factors) == factors == plain.draw(index)
        drawn = space.appearance(factors)
        assert (drawn.modality, drawn.area, drawn.nuisance) == (factors.modality, factors.area, factors.nuisance)
        assert (drawn.finding == "normal") == (factors.finding == "normal")
        known = looks.setdefault((factors.modality, factors.area), {})
        for name in ("finding", "severity"):
            assert known.setdefault(getattr(factors, name), getattr(drawn, name)) == getattr(drawn, name)
    for name in ("mass", "mild"):
        for one, other in combinations(looks, 2):
            if one[0] == other[0] or one[1] == other[1]:  # pairs that share an element never share a look
                assert looks[one][name] != looks[other][name]
    half = FactorSpace(dataclasses.replace(config, num_modalities=7, num_areas=7, interaction=0.5))
    moved = {(f.modality, f.area) for f in map(half.draw, range(600)) if half.appearance(f) != f}
    assert 10 < len(moved) < 39
