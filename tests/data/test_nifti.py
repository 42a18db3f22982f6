import gzip

import numpy as np
import pytest
from PIL import Image

from medgraph.data.check import check_folder
from medgraph.data.errors import DataError
from medgraph.data.images import MAX_PIXELS, ImageFolder, decode
from medgraph.data.nifti import PLANES, extract_slices

nibabel = pytest.importorskip("nibabel", reason="NIfTI needs nibabel")
from nibabel import orientations  # noqa: E402

SHAPE = (6, 8, 10)


def volume(zooms=(1, 1, 1), shape=SHAPE, dtype=np.int16):
    """Values that grow to the right (by 1), to anterior (by 20) and to superior (by 400)."""
    x, y, z = np.meshgrid(*map(np.arange, shape[:3]), indexing="ij")
    values = (x + 20 * y + 400 * z).astype(dtype).reshape(*shape[:3], *[1] * (len(shape) - 3))
    return nibabel.Nifti1Image(np.broadcast_to(values, shape).copy(), np.diag([*zooms, 1.0]))


def saved(tmp_path, image, name="brain.nii.gz"):
    nibabel.save(image, tmp_path / name)
    return tmp_path / name


def pictures(files):
    return [np.asarray(Image.open(file)) for file in files]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASR", "IPL", "SRA"])
def test_any_order_of_the_axes_shows_the_same_anatomy(tmp_path, codes):
    image = volume()
    turned = image.as_reoriented(orientations.ornt_transform(
        orientations.io_orientation(image.affine), orientations.axcodes2ornt(codes)))  # fmt: skip
    for plane in PLANES:
        expected = pictures(extract_slices(saved(tmp_path, image), tmp_path / "a", plane))
        found = pictures(extract_slices(saved(tmp_path, turned, "turned.nii"), tmp_path / "b", plane))
        assert len(found) == SHAPE[PLANES.index(plane)]
        np.testing.assert_array_equal(found, expected)


def test_pictures_are_turned_as_radiologists_look_at_them(tmp_path):
    path = saved(tmp_path, volume())
    for plane, size in (("axial", (8, 6)), ("coronal", (10, 6)), ("sagittal", (10, 8))):
        (first, *_) = pictures(extract_slices(path, tmp_path, plane, every=100))
        assert first.shape == (*size, 3)
        down, across = np.diff(first[..., 0].astype(int), axis=0), np.diff(first[..., 0].astype(int), axis=1)
        assert (down <= 0).all()  # anterior or superior is on top
        assert (across <= 0).all()  # the right side, or anterior, is on the left


def test_a_volume_stands_for_its_middle_slice_across_the_coarsest_axis(tmp_path):
    path = saved(tmp_path, volume(zooms=(1, 5, 1)))
    files = extract_slices(path, tmp_path, "coronal")
    np.testing.assert_array_equal(decode(path), pictures(files)[4])
    assert [file.name for file in extract_slices(path, tmp_path, every=3)] == [
        f"brain-coronal-{i:04d}.png" for i in (0, 3, 6)
    ]
    isotropic = saved(tmp_path, volume(), "b.nii")
    assert decode(isotropic).size == (6, 8)  # axial
    single = saved(tmp_path, volume(shape=(6, 1, 10)), "c.nii")
    assert decode(single).size == (6, 10)  # the only slice there is
    assert ImageFolder(tmp_path)("b.nii", 16).shape == (16, 16, 3)


def test_a_window_shows_its_values_only_and_series_their_first_volume(tmp_path):
    path = saved(tmp_path, volume(shape=(*SHAPE, 2)))
    (first, *_) = pictures(extract_slices(path, tmp_path, "axial", window=(70, 40)))
    expected = np.clip((np.arange(6) + 20 * np.arange(8)[:, None] - 50) / 40, 0, 1)
    np.testing.assert_allclose(first[::-1, ::-1, 0] / 255, expected, atol=0.003)


def test_values_that_are_no_numbers_are_black(tmp_path):
    image = volume(dtype=np.float32)
    image.dataobj[:, :, 5] = np.nan
    assert not np.asarray(decode(saved(tmp_path, image))).any()


def test_broken_files_name_the_file(tmp_path):
    path = saved(tmp_path, volume(), "a.nii")
    path.write_bytes(path.read_bytes()[:-600])
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    (tmp_path / "text.nii").write_text("no volume")
    for name in ("a.nii", "cut.nii.gz", "text.nii"):
        with pytest.raises(DataError, match=rf"{name}: found .*expected a complete NIfTI volume") as error:
            decode(tmp_path / name)
        assert error.value.kind == "image_unreadable"
    with pytest.raises(DataError) as error:
        decode(tmp_path / "gone.nii")
    assert error.value.kind == "image_missing"
    flat = saved(tmp_path, nibabel.Nifti1Image(np.zeros((4, 4), np.int16), np.eye(4)), "flat.nii")
    with pytest.raises(DataError, match=r"shape \(4, 4\) of int16.*at least three dimensions"):
        decode(flat)


def test_huge_slices_are_refused_before_they_are_read(tmp_path):
    side = int(MAX_PIXELS**0.5) // 3000 * 3000 + 6000
    header = volume().header.copy()
    header.set_data_shape((side, side, 1))
    (tmp_path / "bomb.nii").write_bytes(header.binaryblock + b"\0" * 100)
    with pytest.raises(DataError, match="at most 89,478,485 pixels") as error:
        decode(tmp_path / "bomb.nii")
    assert error.value.kind == "image_too_large"


def test_wrong_options(tmp_path):
    for options in ({"plane": "oblique"}, {"every": 0}, {"window": (40, 0)}):
        with pytest.raises(ValueError, match="expected one of sagittal, coronal, axial"):
            extract_slices(tmp_path / "a.nii", tmp_path, **options)


def test_the_check_reads_volumes_too(tmp_path):
    saved(tmp_path, volume(), "a.nii.gz")
    (tmp_path / "b.nii").write_text("no volume")
    report = check_folder(tmp_path)
    assert (report.images, report.bad_images) == (2, ["b.nii"])
