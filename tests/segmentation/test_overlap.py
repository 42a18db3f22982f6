import numpy as np
import pytest

from medgraph.segmentation.overlap import count_pixels, foreground_mean, overlap, overlap_figures
from medgraph.segmentation.results import SegmentationResults

CLASSES = ["background", "mass", "cyst", "never"]


@pytest.fixture
def masks():
    """Predicted and true masks of six images; the truth has no class 3, and one image has no foreground."""
    rng = np.random.default_rng(0)
    predicted, truth = rng.integers(4, size=(6, 5, 5)), rng.integers(3, size=(6, 5, 5))
    truth[2] = 0
    return predicted, truth


def test_figures_equal_a_loop_over_classes(masks):
    predicted, truth = masks
    figures = overlap_figures(count_pixels(predicted, truth, 4), CLASSES)
    dice, iou = [], []
    for k in (1, 2):
        both, either = ((predicted == k) & (truth == k)).sum(), ((predicted == k) | (truth == k)).sum()
        iou.append(both / either)
        dice.append(2 * both / (both + either))
        assert figures[f"dice_{CLASSES[k]}"] == pytest.approx(dice[-1])
        assert figures[f"iou_{CLASSES[k]}"] == pytest.approx(iou[-1])
    assert figures["dice"] == pytest.approx(np.mean(dice))
    assert figures["iou"] == pytest.approx(np.mean(iou))
    assert np.isnan(figures["dice_never"])


def test_every_image_has_an_overlap_of_its_own_unless_it_has_no_foreground(masks):
    predicted, truth = masks
    dice = foreground_mean(overlap(count_pixels(predicted, truth, 4))[0])
    assert np.isnan(dice).tolist() == [False, False, True, False, False, False]
    one = overlap_figures(count_pixels(predicted[:1], truth[:1], 4), CLASSES)
    assert dice[0] == pytest.approx(one["dice"])


def test_intervals_are_over_images_and_survive_the_file(masks, tmp_path):
    predicted, truth = masks
    counts, names = count_pixels(predicted, truth, 4), list("abcdef")
    results = SegmentationResults.of(counts, names, CLASSES, seed=0)
    assert set(results.figures) == {"dice", "iou", "dice_mass", "iou_mass", "dice_cyst", "iou_cyst"}
    dice = results.figures["dice"]
    assert dice.low < dice.value < dice.high
    repeated = SegmentationResults.of(counts.repeat(3, 0), np.repeat(names, 3).tolist(), CLASSES, seed=0)
    assert repeated.figures["dice"] == pytest.approx(dice), "copies of an image are no further images"
    results.save(tmp_path / "results.json")
    assert SegmentationResults.load(tmp_path / "results.json") == results
