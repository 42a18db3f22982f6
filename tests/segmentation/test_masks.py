import numpy as np
import PIL.Image
import pytest

from medgraph.config import ConfigError, MedMATConfig, PhantomConfig
from medgraph.data.errors import DataError
from medgraph.segmentation.masks import masked_images, masked_phantoms

PHANTOMS = PhantomConfig(num_train=24, num_val=4, num_test=12, num_ood=0)


def test_masks_of_phantoms_are_where_the_finding_is():
    source = masked_phantoms(PHANTOMS)
    assert source.classes == ["background", "mass", "cyst", "calcification"]
    assert {name: len(images) for name, images in source.splits.items()} == {"train": 24, "val": 4, "test": 12}
    shares = {}
    for name in source.splits["train"]:
        pair = source.load(name, 64)
        assert pair.shape == (64, 64, 4)
        mask = pair[..., 3]
        shares.setdefault(int(mask.max()), []).append((mask > 0).mean())
    assert set(shares) == {0, 1, 2, 3}
    assert all(0 < share < 0.5 for number, each in shares.items() if number for share in each)


def test_phantoms_without_a_finding_are_refused():
    with pytest.raises(ConfigError, match=r"data\.num_val=1: none of these phantoms has a finding; raise it"):
        masked_phantoms(PhantomConfig(num_train=24, num_val=1, num_test=12, num_ood=0, seed=8))


def test_pairs_of_a_folder_stay_aligned_and_whole(pairs):
    source = masked_images(PHANTOMS, str(pairs))
    assert source.classes == ["background", "value 1"]
    assert source.splits == {name: [f"{name}/images/{i}.png" for i in range(4)] if name != "val" else []
                             for name in ("train", "val", "test")}  # fmt: skip
    for name in source.splits["test"]:
        pair = source.load(name, 20)
        assert ((pair[..., 0] > 100) == pair[..., 3]).mean() > 0.9
        assert pair[..., 3].mean() == pytest.approx(16 * 24 / (40 * 60), rel=0.2), "stretched, not cropped"


def test_a_palette_holds_numbers_and_the_fingerprint_what_is_in_the_files(pairs):
    before = masked_images(PHANTOMS, str(pairs))
    file = pairs / "train" / "masks" / "0.png"
    with PIL.Image.open(file) as mask:
        values = np.array(mask)
    coloured = PIL.Image.fromarray(values, "L").convert("P")
    coloured.putdata(values.flatten().tolist())
    coloured.putpalette([0, 0, 0, 250, 20, 20])
    coloured.save(file)
    assert masked_images(PHANTOMS, str(pairs)).fingerprint == before.fingerprint
    PIL.Image.fromarray(1 - values).save(file)
    assert masked_images(PHANTOMS, str(pairs)).fingerprint != before.fingerprint


def test_masks_of_0_and_255_have_two_classes(pairs):
    before = masked_images(PHANTOMS, str(pairs))
    numbers = [before.load(name, 20)[..., 3] for name in before.splits["test"]]
    scale(pairs)
    source = masked_images(PHANTOMS, str(pairs))
    assert source.classes == ["background", "value 255"]
    for name, number in zip(source.splits["test"], numbers, strict=True):
        np.testing.assert_array_equal(source.load(name, 20)[..., 3], number)


def remove_mask(root):
    (root / "test" / "masks" / "2.png").unlink()


def remove_images(root):
    for file in (root / "test" / "images").iterdir():
        file.unlink()


def empty_validation(root):
    (root / "val" / "images").mkdir(parents=True)


def save(value, size=(60, 40)):
    return lambda root: PIL.Image.new("L", size, value).save(root / "test" / "masks" / "1.png")


def scale(root):
    for file in root.glob("*/masks/*.png"):
        with PIL.Image.open(file) as mask:
            values = np.array(mask)
        PIL.Image.fromarray(255 * values).save(file)


def smooth(root):
    for file in root.glob("train/masks/*.png"):
        PIL.Image.fromarray(np.linspace(0, 80, 40 * 60).reshape(40, 60).astype(np.uint8)).save(file)


def blacken(root):
    for file in (root / "test" / "masks").iterdir():
        PIL.Image.new("L", (60, 40)).save(file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_mask, r"test/images/2\.png: found \[\], expected one mask .*; add it or remove the image"),
        (remove_images, r"test/images: found 'no image', expected images to segment; masks=FOLDER needs images/NAME"),
        (empty_validation, r"val/images: found 'no image'"),
        (save(1, (30, 40)), r"test/masks/1\.png: found '30 x 40 pixels', expected 60 x 40 as in .*1\.png; export"),
        (save(2), r"test/images/1\.png, field 'mask': found 2, expected one of 0, 1, the grey values of the training"),
        (smooth, r"train/masks, field 'mask': found '\d+ different grey values', expected at most 64, one"),
        (blacken, r"test/masks: found 'only grey value 0, the background', expected masks with a foreground"),
    ],
)  # fmt: skip
def test_mistakes_in_a_folder_are_named(pairs, spoil, message):
    spoil(pairs)
    with pytest.raises(DataError, match=message):
        masked_images(PHANTOMS, str(pairs))


def test_data_without_masks_is_refused():
    with pytest.raises(ConfigError, match="data=medmat has no masks for segmentation; give masks=FOLDER"):
        masked_images(MedMATConfig(), "")
