import numpy as np
import pytest

from medgraph.augment.draws import MAX_DEPTH, draw_chains, draw_crops
from medgraph.augment.registry import MIXES
from medgraph.data.augment import AUGMENTATIONS, MIXING


@pytest.mark.parametrize("count", [1, 2, 4])
def test_crops_have_one_area_of_each_range_and_weights_that_sum_to_one(count):
    edges = np.linspace(0.2, 1, count + 1)
    for seed in range(10):
        areas, weights = draw_crops(float, count, 0.2, 0.4, np.random.default_rng(seed))
        assert ((edges[:-1] <= np.sort(areas)) & (np.sort(areas) <= edges[1:])).all()
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
        assert len(weights) == count


def test_crops_are_mixed_one_after_the_other():
    areas, weights = draw_crops(float, 3, 0.5, 3.0, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    rng.permutation(3), rng.uniform(size=3)
    mixed = areas[0]
    for area in areas[1:]:
        share = rng.beta(1, 1)
        mixed = share * mixed + (1 - share) * area
    assert np.dot(areas, weights) == pytest.approx(mixed)


def test_chains_start_at_the_image_and_have_one_to_three_changes():
    depths = set()
    for seed in range(20):
        (image, *chains), weights = draw_chains(0, lambda depth: depth + 1, 4, 1.0, np.random.default_rng(seed))
        assert image == 0
        assert sum(weights) == pytest.approx(1)
        assert len(weights) == 5
        depths.update(chains)
    assert depths == set(range(1, MAX_DEPTH + 1))


def test_the_mixes_that_texts_allow_have_one_name_and_all_others_are_refused_there():
    assert set(MIXES) - {"none"} - set(AUGMENTATIONS) == set(MIXING)
    assert set(MIXES) & set(AUGMENTATIONS) == {"cropmix", "augmix", "yoco"}
