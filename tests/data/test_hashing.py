import numpy as np
import pytest
from PIL import Image, ImageDraw

from medgraph.data.hashing import NEAR, SIDE, equal_files, near_pairs, signature, signatures


def picture(seed, size=(160, 120)):
    """A grey picture with structure at several scales, as organs have it."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", size, 40)
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, radius = rng.integers(0, size[0]), rng.integers(0, size[1]), rng.integers(4, 30)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.integers(0, 256)))
    return image


CHANGES = {
    "resized": lambda image, path: image.resize((67, 50)).save(path),
    "re-encoded": lambda image, path: image.save(path.with_suffix(".jpg"), quality=40),
    "inverted": lambda image, path: Image.eval(image, lambda v: 255 - v).save(path),
    "darkened": lambda image, path: Image.eval(image, lambda v: 20 + v // 3).save(path),
    "all of it": lambda image, path: Image.eval(image.resize((80, 60)), lambda v: 230 - v // 2).save(
        path.with_suffix(".jpg"), quality=50
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_and_others_are_not(tmp_path, change):
    for seed in range(12):
        picture(seed).save(tmp_path / f"a{seed}.png")
        CHANGES[change](picture(seed), tmp_path / f"b{seed}.png")
    paths = sorted(path.name for path in tmp_path.iterdir())
    found = {(paths[i][1:-4], paths[j][1:-4]) for i, j, _ in near_pairs(signatures(paths, tmp_path))}
    assert found == {(str(seed), str(seed)) for seed in range(12)}


def test_an_outline_that_all_share_does_not_make_images_alike():
    def disc(seed):
        x, y = np.meshgrid(*[np.linspace(-1, 1, 200)] * 2)
        noise = Image.fromarray((np.random.default_rng(seed).random((9, 9)) * 30).astype(np.uint8)).resize((200, 200))
        return Image.fromarray(((x**2 + y**2 < 0.9) * (200 + np.asarray(noise))).astype(np.uint8))

    assert abs(signature(disc(0)) @ signature(disc(1))) < NEAR


def test_a_blank_image_resembles_nothing():
    blank = signature(Image.new("RGB", (50, 50), "white"))
    assert not blank.any()
    assert blank.shape == (SIDE * SIDE,)


def test_blocks_do_not_change_the_pairs():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(37, 16)).astype(np.float32)
    rows[20] = -rows[3]
    rows[36] = rows[3]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [{(i, j) for i, j, _ in near_pairs(rows, 0.99, block)} for block in (1, 7, 64)]
    assert pairs[0] == pairs[1] == pairs[2] == {(3, 20), (3, 36), (20, 36)}
    with pytest.raises(ValueError, match="threshold=0"):
        next(near_pairs(rows, 0))


def test_equal_files(tmp_path):
    for name, content in (("a", b"12"), ("b", b"12"), ("c", b"13"), ("d", b"123")):
        (tmp_path / name).write_bytes(content)
    assert equal_files(["a", "b", "c", "d", "a"], tmp_path) == [("a", "b")]
