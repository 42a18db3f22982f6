import numpy as np
import pytest

from medgraph.config import ConfigError, ExperimentConfig, PhantomConfig, parse, validate
from medgraph.data import augment as module
from medgraph.data.augment import AUGMENTATIONS, augment, check_augmentations
from medgraph.data.loading import ConversationDataset, ImageCache
from medgraph.data.phantom import build_phantom

KEEPING = [name for name in AUGMENTATIONS if name != "hflip"]


def picture(height=48, width=48):
    """A bright left half on a gradient from top to bottom."""
    y, x = np.mgrid[:height, :width]
    gray = 60 + y * 40 // height + np.where(x < width // 2, 120, 0)
    return np.repeat(gray[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_equal_keys_give_equal_images_and_others_differ(name):
    image = picture()
    before = image.copy()
    images = [augment(image, [name], (seed, epoch, index)) for seed in (0, 1) for epoch in (0, 1) for index in range(8)]
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(augment(image, [name], (1, 1, 7)), images[-1])
    assert {(changed.shape, changed.dtype) for changed in images} == {(image.shape, image.dtype)}
    assert len({changed.tobytes() for changed in images}) == (2 if name == "hflip" else len(images))


@pytest.mark.parametrize("name", KEEPING)
def test_left_stays_left_and_the_picture_can_be_recognised(name):
    image = picture()
    for index in range(30):
        changed = augment(image, [name], (0, 0, index)).astype(float)
        assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] > 0.1
        assert changed[:, :16].mean() > changed[:, -16:].mean()


def test_no_names_change_nothing_and_names_follow_each_other():
    image = picture()
    assert augment(image, [], (0, 0, 0)) is image
    both = augment(image, ["rotate", "intensity"], (0, 0, 3))
    assert (both != augment(image, ["rotate"], (0, 0, 3))).any()


def test_geometry_follows_its_definition(monkeypatch):
    image = picture(40, 60)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module, "MAX_DEGREES", 0.0)
    np.testing.assert_array_equal(module.rotate(image, rng), image)
    monkeypatch.setattr(module, "MAX_SHIFT", 0.0)
    np.testing.assert_array_equal(module.shift(image, rng), image)
    monkeypatch.setattr(module, "MAX_GAIN", 1.0)
    np.testing.assert_array_equal(module.intensity(image, rng), image)
    monkeypatch.setattr(module, "SMALLEST_CROP", 1.0)
    np.testing.assert_array_equal(module.cropmix(image, rng), image)
    for name in ("yoco", "augmix"):  # made of the three above
        np.testing.assert_array_equal(AUGMENTATIONS[name](image, rng), image)


def test_halves_of_yoco_are_independent():
    flat = np.full((32, 32, 3), 100, np.uint8)
    values = {tuple(np.unique(augment(flat, ["yoco"], (0, 0, i)))) for i in range(40)}
    assert any(len(found) > 1 for found in values)


def test_a_data_set_changes_training_images_by_epoch_and_can_start_anywhere():
    corpus = build_phantom(PhantomConfig(num_train=4, num_task=1, num_val=1, num_test=1, num_ood=0))
    images = ImageCache(corpus, 32)
    plain, changed, again = (
        ConversationDataset(corpus.splits["train"], images, 0, names) for names in ((), ["shift"], ["shift"])
    )
    seen = {key: changed[key][0].tobytes() for key in ((0, 1), (0, 2), (1, 2))}
    for key, expected in reversed(seen.items()):
        assert again[key][0].tobytes() == expected
        assert again[key][1] == plain[key][1]
    assert seen[0, 2] != seen[1, 2]
    image, records = plain[1, 2]
    np.testing.assert_array_equal(image, images(records[0].image))


def test_mixing_classes_and_unknown_names_are_refused():
    check_augmentations(list(AUGMENTATIONS))
    with pytest.raises(ConfigError, match=r"data\.augment=mixup: it blends the targets of two images.*take shift, "):
        check_augmentations(["shift", "mixup"])
    with pytest.raises(ConfigError, match=r"data\.augment=rotat: no such augmentation; did you mean 'rotate'"):
        check_augmentations(["rotat"])
    with pytest.raises(ConfigError, match=r"data\.augment=cutmix"):
        validate(parse(ExperimentConfig(), ["data.augment=[cutmix]"]))
