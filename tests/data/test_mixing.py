import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from medgraph.data.mixing import cutmix, mixup


def batch(dtype=torch.float32):
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 20, 30) * 40
    return images.to(dtype), one_hot(torch.arange(6), 6).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("seed", range(4))
def test_mixup_follows_its_formula(dtype, seed):
    images, targets = batch(dtype)
    mixed, soft = mixup(images, targets, 0.8, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    share, partner = rng.beta(0.8, 0.8), rng.permutation(6)
    for i, j in enumerate(partner):
        expected = share * images[i].double() + (1 - share) * images[j].double()
        torch.testing.assert_close(mixed[i].double(), expected, atol=0.51 if dtype == torch.uint8 else 1e-4, rtol=0)
        torch.testing.assert_close(soft[i], share * targets[i] + (1 - share) * targets[j])
    assert mixed.dtype == dtype


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_pastes_one_box_and_weights_targets_by_area(seed):
    images, targets = batch(torch.uint8)
    mixed, soft = cutmix(images, targets, 1.0, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    share, partner = rng.beta(1, 1), rng.permutation(6)
    for i, j in enumerate(partner):
        foreign = (mixed[i, 0] != images[i, 0]).numpy()
        if i != j:
            rows, columns = np.flatnonzero(foreign.any(1)), np.flatnonzero(foreign.any(0))
            assert foreign.sum() == len(rows) * len(columns)  # a box
            assert (mixed[i, 0][torch.from_numpy(foreign)] == images[j, 0, 0, 0]).all()
            assert foreign.mean() <= (1 - share) + 0.1  # clipped boxes are smaller
            assert soft[i, j].item() == pytest.approx(foreign.mean(), abs=1e-6)
        assert soft[i].sum().item() == pytest.approx(1)


def test_wrong_input():
    images, targets = batch()
    with pytest.raises(ValueError, match="alpha=0"):
        mixup(images, targets, 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one-hot encode class numbers"):
        cutmix(images, torch.arange(6), 1.0, np.random.default_rng(0))
