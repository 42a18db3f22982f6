import numpy as np
import PIL.Image
import pytest


@pytest.fixture
def pairs(tmp_path):
    """A folder of bright rectangles and their masks, without a split for validation."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for number in range(4):
            mask = np.zeros((40, 60), np.uint8)
            row, column = rng.integers(0, 24, 2)
            mask[row : row + 16, column : column + 24] = 1
            PIL.Image.fromarray(mask * 200).save(tmp_path / split / "images" / f"{number}.png")
            PIL.Image.fromarray(mask).save(tmp_path / split / "masks" / f"{number}.png")
    return tmp_path
