import io
import pickle
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medgraph.data.errors import DataError
from medgraph.data.images import MAX_PIXELS, ImageFolder, decode, fit, stretch


def pixels(width=40, height=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from([16, 31, 48]))
def test_equal_to_the_hugging_face_processor(width, height, side):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    image = Image.fromarray(pixels(width, height))
    theirs = processor(image, return_tensors="np", do_rescale=False, do_normalize=False)["pixel_values"][0]
    np.testing.assert_array_equal(fit(image, side), theirs.transpose(1, 2, 0))


def test_side_must_be_positive():
    with pytest.raises(ValueError, match="side=0"):
        fit(Image.new("RGB", (4, 4)), 0)


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_sixteen_bit_images_are_stretched_to_their_range(tmp_path):
    values = np.linspace(100, 4095, 64).reshape(8, 8).astype(np.uint16)
    loaded = np.asarray(decode(saved(tmp_path, Image.fromarray(values))))
    assert loaded.shape == (8, 8, 3)
    assert (loaded.min(), loaded.max()) == (0, 255)
    assert (np.diff(loaded[..., 0].ravel().astype(int)) >= 0).all()


def test_palette_gray_and_bilevel_images(tmp_path):
    rgb = Image.fromarray(pixels())
    palette = rgb.quantize(16)
    np.testing.assert_array_equal(decode(saved(tmp_path, palette)), palette.convert("RGB"))
    gray = rgb.convert("L")
    np.testing.assert_array_equal(np.asarray(decode(saved(tmp_path, gray)))[..., 1], gray)
    assert set(np.unique(decode(saved(tmp_path, gray.convert("1"))))) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_become_black_and_opaque_ones_stay(tmp_path, mode):
    rgb = Image.fromarray(pixels())
    base = {"RGBA": rgb, "LA": rgb.convert("L"), "PA": rgb.convert("L")}[mode]
    alpha = np.full((30, 40), 255, np.uint8)
    alpha[:, :20] = 0
    image = base.convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    if mode != "RGBA":
        image = image.convert("LA")
    loaded = np.asarray(decode(saved(tmp_path, image)))
    assert (loaded[:, :20] == 0).all()
    np.testing.assert_array_equal(loaded[:, 20:], np.asarray(base.convert("RGB"))[:, 20:])


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 8).reshape(4, 4), "P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    loaded = np.asarray(decode(saved(tmp_path, image, transparency=0)))
    assert {tuple(pixel) for pixel in loaded.reshape(-1, 3)} == {(0, 0, 0), (0, 200, 0)}


def test_exif_rotation_is_applied(tmp_path):
    upright = Image.fromarray(pixels(40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to view
    file = saved(tmp_path, upright, "a.png", exif=exif)
    np.testing.assert_array_equal(decode(file), upright.transpose(Image.Transpose.ROTATE_270))


def test_cmyk_jpeg_and_first_frame_of_several(tmp_path):
    assert decode(saved(tmp_path, Image.fromarray(pixels()).convert("CMYK"), "a.jpg")).mode == "RGB"
    frames = [Image.new("RGB", (6, 6), color) for color in ("red", "blue")]
    file = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(np.asarray(decode(file))[0, 0]) == (255, 0, 0)


def test_a_wrong_extension_does_not_matter(tmp_path):
    image = Image.fromarray(pixels())
    (saved(tmp_path, image, "a.png")).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg"), image)


def test_truncated_empty_foreign_and_missing_files(tmp_path):
    for suffix in ("png", "jpg"):
        whole = saved(tmp_path, Image.fromarray(pixels(200, 200)), f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=rf"cut\.{suffix}: found .*expected a complete image file") as error:
            decode(tmp_path / f"cut.{suffix}")
        assert error.value.kind == "image_unreadable"
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes") as error:
        decode(tmp_path / "empty.png")
    assert error.value.kind == "image_empty"
    (tmp_path / "text.png").write_text("<html>404</html>")
    with pytest.raises(DataError, match="UnidentifiedImageError"):
        decode(tmp_path / "text.png")
    with pytest.raises(DataError, match="found 'no file'"):
        decode(tmp_path / "nothing.png")
    with pytest.raises(DataError):
        decode(tmp_path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = int(MAX_PIXELS**0.5) + 10
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    file = tmp_path / "bomb.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="at most 89,478,485 pixels") as error:
        decode(file)
    assert error.value.kind == "image_too_large"


def test_folder_refuses_paths_outside_and_names_the_path(tmp_path):
    saved(tmp_path, Image.fromarray(pixels()), "secret.png")
    (tmp_path / "root").mkdir()
    with pytest.raises(DataError, match=r"'\.\./secret\.png' is a path that leaves the data root"):
        ImageFolder(tmp_path / "root")("../secret.png", 8)


def test_errors_survive_worker_processes(tmp_path):
    with pytest.raises(DataError) as error:
        ImageFolder(tmp_path)("gone.png", 8)
    copy = pickle.loads(pickle.dumps(error.value))
    assert (str(copy), type(copy)) == (str(error.value), DataError)
    assert isinstance(type(error.value)(str(error.value)), DataError)  # what a data loader does


def test_stretch_windows_and_non_finite_values():
    values = np.array([np.nan, -np.inf, -1000.0, 40.0, 400.0, np.inf])
    assert stretch(values, -160, 240).tolist() == [0, 0, 0, 128, 255, 255]
    assert stretch(np.full((2, 2), 7)).tolist() == [[0, 0], [0, 0]]


def dicom(path, photometric="MONOCHROME2", window=None):
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 4, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = photometric
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    if window:
        dataset.WindowCenter, dataset.WindowWidth = window
    dataset.PixelData = np.array([0, 964, 1024, 1064, 1084, 1164, 2000, 4095], np.uint16).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_dicom_windows_and_inverted_gray(tmp_path):
    windowed = np.asarray(decode(dicom(tmp_path / "a.dcm", window=(40, 400))))[..., 0].ravel()
    assert windowed[0] == 0
    assert windowed[-1] == 255
    assert 110 <= windowed[3] <= 145  # 40 HU, the centre of the window
    whole = np.asarray(decode(dicom(tmp_path / "b.dcm")))[..., 0].ravel()
    assert whole[3] < 80
    inverted = np.asarray(decode(dicom(tmp_path / "c.dcm", "MONOCHROME1")))[..., 0].ravel()
    np.testing.assert_array_equal(inverted, 255 - whole)


def test_dicom_palettes_and_colours(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm"))
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit = 7
    file.PixelData = bytes([0, 1, 2, 0, 1, 2, 0, 1])
    file.PhotometricInterpretation = "PALETTE COLOR"
    for color, levels in {"Red": (255, 0, 0), "Green": (0, 255, 0), "Blue": (0, 0, 255)}.items():
        file.add_new(f"{color}PaletteColorLookupTableDescriptor", "US", [3, 0, 16])
        table = (np.array(levels, np.uint16) * 257).tobytes()
        file.add_new(f"{color}PaletteColorLookupTableData", "OW", table)
    file.save_as(tmp_path / "palette.dcm")
    shown = np.asarray(decode(tmp_path / "palette.dcm"))
    np.testing.assert_array_equal(shown[0], [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 0]])
    file.PhotometricInterpretation, file.SamplesPerPixel, file.PlanarConfiguration = "RGB", 3, 0
    file.PixelData = bytes(range(24))
    file.save_as(tmp_path / "rgb.dcm")
    np.testing.assert_array_equal(decode(tmp_path / "rgb.dcm"), np.arange(24).reshape(2, 4, 3))


def test_a_huge_dicom_is_refused_before_it_is_decoded(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="DICOM needs pydicom")
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm"))
    file.Rows = file.Columns = 20_000
    file.save_as(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"20000 x 20000 pixels.*at most 89,478,485"):
        decode(tmp_path / "a.dcm")


def test_broken_and_missing_dicom(tmp_path):
    path = dicom(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match="expected a complete DICOM image"):
        decode(path)
    with pytest.raises(DataError) as error:
        decode(tmp_path / "gone.dcm")
    assert error.value.kind == "image_missing"


def test_importing_needs_no_torch():
    code = "import sys; import medgraph.data.images, medgraph.data.medmat; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_jpeg_in_memory_matches_pillow(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(ImageFolder(tmp_path)("a.jpg", 64), np.asarray(Image.open(buffer)))
