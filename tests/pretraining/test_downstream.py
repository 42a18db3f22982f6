import numpy as np
import PIL.Image
import pytest
import torch

from medgraph.config import ConfigError, MedMATConfig, PhantomConfig
from medgraph.data.errors import DataError
from medgraph.pretraining.downstream import DownstreamConfig, fine_tune
from medgraph.pretraining.masks import masked_images, masked_phantoms
from medgraph.pretraining.unet import overlap_figures

PHANTOMS = PhantomConfig(num_train=24, num_val=4, num_test=12, num_ood=0)


@pytest.fixture
def pairs(tmp_path):
    """A folder of bright squares and their masks."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for number in range(4):
            mask = np.zeros((40, 40), np.uint8)
            row, column = rng.integers(0, 24, 2)
            mask[row : row + 16, column : column + 16] = 1
            PIL.Image.fromarray(mask * 200).save(tmp_path / split / "images" / f"{number}.png")
            PIL.Image.fromarray(mask).save(tmp_path / split / "masks" / f"{number}.png")
    return tmp_path


def test_masks_of_phantoms_are_where_the_finding_is():
    source = masked_phantoms(PHANTOMS)
    assert source.classes[0] == "background"
    shares = {}
    for name in source.splits["train"]:
        image, mask = source.load(name, 64)
        assert image.shape == (64, 64, 3)
        shares.setdefault(int(mask.max()), []).append((mask > 0).mean())
    assert set(shares) > {0}
    assert all(0 < share < 0.5 for number, each in shares.items() if number for share in each)


def test_pairs_of_a_folder_stay_aligned(pairs):
    source = masked_images(PHANTOMS, str(pairs))
    assert source.classes == ["background", "class 1"]
    image, mask = source.load(source.splits["test"][0], 20)
    assert ((image[..., 0] > 100) == mask).mean() > 0.9
    (pairs / "test" / "masks" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2.png: has no mask"):
        masked_images(PHANTOMS, str(pairs))


def test_data_without_masks_is_refused():
    with pytest.raises(ConfigError, match="no masks"):
        masked_images(MedMATConfig(), "")


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_a_finished_run_is_read(tmp_path, task):
    config = DownstreamConfig(data=PHANTOMS, task=task, steps=2, batch_size=4, weights="random")
    config.run.root = str(tmp_path)
    first = fine_tune(config)
    assert fine_tune(config).results == first.results
    figure, other = ("dice", "accuracy") if task == "segmentation" else ("accuracy", "dice")
    assert 0 <= first.results.value(figure) <= 1
    assert np.isnan(first.results.value(other))


@pytest.mark.slow
def test_segmentation_learns_more_than_a_constant_mask(tmp_path):
    data = PhantomConfig(
        num_train=64, num_val=1, num_test=32, num_ood=0, num_modalities=2, num_areas=2, num_findings=2, holdout=0.0
    )
    config = DownstreamConfig(data=data, steps=60, batch_size=16, weights="random", lr=2e-3)
    config.run.root = str(tmp_path)
    source = masked_phantoms(data)
    masks = torch.from_numpy(np.stack([source.load(name, 64)[1] for name in source.splits["test"]])).long()
    constant = max(
        overlap_figures(torch.full_like(masks, number), masks, len(source.classes))[0][1:].nanmean().item()
        for number in range(1, len(source.classes))
    )
    assert fine_tune(config).results.value("dice") > constant + 0.1
