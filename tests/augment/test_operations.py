import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from medgraph.augment import operations
from medgraph.augment.operations import OPERATIONS, affine, jitter


@pytest.fixture(scope="module")
def picture():
    """A smooth image with dark corners, (32, 48, 3) uint8."""
    y, x = np.mgrid[:32, :48]
    waves = [120 + 70 * np.sin(x / 7 + phase) * np.cos(y / 6) for phase in (0, 1, 2)]
    return np.stack(waves, -1).astype(np.uint8)


def tensor(picture):
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float().div(255)[None]


PILLOW = {
    "autocontrast": lambda image: ImageOps.autocontrast(image),
    "equalize": lambda image: ImageOps.equalize(image),
    "posterize": lambda image: ImageOps.posterize(image, 3),
    "solarize": lambda image: ImageOps.solarize(image, 256 - 76),
}


@pytest.mark.parametrize("name", PILLOW)
def test_changes_of_values_equal_pillow(picture, name):
    changed = getattr(operations, name)(tensor(picture), 3.0, np.random.default_rng(0))
    expected = tensor(PILLOW[name](Image.fromarray(picture)))
    torch.testing.assert_close(changed, expected, rtol=0, atol=1.01 / 255 if name == "autocontrast" else 1e-6)
    constant = torch.full((1, 3, 8, 8), 0.5)
    assert getattr(operations, name)(constant, 3.0, np.random.default_rng(0)).isfinite().all()


@pytest.mark.parametrize("matrix", [(1, 0, 5, 0, 1, -3), (1, 0.2, 0, 0, 1, 0), (0.9, 0.3, 2, -0.2, 1.1, 1)])
def test_affine_changes_equal_pillow(picture, matrix):
    expected = Image.fromarray(picture).transform((48, 32), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    changed, expected = affine(tensor(picture), matrix)[0], tensor(expected)[0]
    black = expected.amax(0) == 0
    inside = ~torch.nn.functional.max_pool2d(black[None].float(), 3, 1, 1)[0].bool()  # pillow repeats the last pixel
    inside[[0, -1]] = inside[:, [0, -1]] = False
    assert inside.float().mean() > 0.4
    assert (changed - expected)[:, inside].abs().max() < 1.5 / 255
    torch.testing.assert_close(affine(tensor(picture), (1, 0, 0, 0, 1, 0)), tensor(picture))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_operations_keep_range_and_treat_all_images_of_a_batch_alike(picture, operation):
    images = torch.cat([tensor(picture), tensor(picture).flip(3)])
    for level in (0.1, 3.0, 10.0):
        changed = operation(images, level, np.random.default_rng(0))
        assert changed.shape == images.shape
        assert changed.min() >= 0
        assert changed.max() <= 1 + 1e-6
        torch.testing.assert_close(operation(images[:1], level, np.random.default_rng(0)), changed[:1])


def test_rotation_keeps_the_centre_and_signs_are_drawn(picture):
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    moved = {operations.translate_x(point, 9.0, np.random.default_rng(seed)).argmax().item() for seed in range(8)}
    assert moved == {16 * 33 + 16 - 9, 16 * 33 + 16 + 9}
    assert operations.rotate(point, 9.0, np.random.default_rng(0))[..., 16, 16] > 0.9


def test_jitter_changes_brightness_and_contrast_by_what_it_draws(picture):
    image = tensor(picture) * 0.5 + 0.2
    rng = np.random.default_rng(5)
    brightness, contrast = np.random.default_rng(5).uniform(0.9, 1.1, 2)
    changed = jitter(image, 0.1, rng)
    assert changed.mean().item() == pytest.approx(brightness * image.mean().item(), rel=1e-3)
    assert changed.std().item() == pytest.approx(brightness * contrast * image.std().item(), rel=1e-3)
    torch.testing.assert_close(jitter(image, 0.0, rng), image)
