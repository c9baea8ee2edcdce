from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ExifTags, Image, ImageFile

from headstart.data.decode import Inspection, content_hash, decode, inspect, read_content
from headstart.data.deep import to_8_bit
from headstart.data.sources.local import MAX_FILE_BYTES
from headstart.data.value_range import ValueRange
from headstart.data.webp import OneFrame
from headstart.errors import ImageProblem, SettingsError

Nasty = tuple[Path, dict[Path, str | None]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_decoded_upright(nasty_folder: Nasty, nasty: ModuleType, suffix: str, turn: int) -> None:
    path = nasty_folder[0] / f"turn-{turn}.{suffix}"
    # What each orientation means according to the EXIF standard: where row 0 and column 0 of the file belong.
    stored = np.asarray(nasty.pattern()).astype(int)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: stored.swapaxes(0, 1)[:, ::-1],
        7: stored.swapaxes(0, 1)[::-1, ::-1],
        8: stored.swapaxes(0, 1)[::-1],
    }[turn]
    seen = np.asarray(decode(path)).astype(int)
    assert seen.shape == turned.shape
    # red and green increase along one side each; blue is a pattern that JPEG blurs
    assert np.abs(seen - turned)[..., :2].mean() < 12
    assert (inspect(path).width, inspect(path).height) == (turned.shape[1], turned.shape[0])


def photo(size: tuple[int, int], **options: Any) -> bytes:
    """A JPEG of a gradient and of noise that no smaller image shows."""
    noise = Image.effect_noise(size, 30).convert("RGB")
    ramp = Image.linear_gradient("L").resize(size).convert("RGB")
    file = io.BytesIO()
    Image.blend(noise, ramp, 0.7).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "min_side", "decoded"),
    [
        ((1600, 1200), 768, (1600, 1200)),  # a half would be too small
        ((1600, 1200), 600, (800, 600)),
        ((1600, 1200), 200, (400, 300)),
        ((1603, 1201), 600, (802, 601)),  # fractions are rounded up
        ((5000, 200), 300, (5000, 200)),  # already smaller than needed
        ((1600, 1200), None, (1600, 1200)),
    ],
)
def test_a_large_jpeg_is_decoded_at_a_reduced_size(
    size: tuple[int, int], min_side: int | None, decoded: tuple[int, int]
) -> None:
    data = photo(size)
    small, whole = decode(data, min_side=min_side), decode(data)
    assert small.size == decoded
    assert whole.size == size
    difference = np.asarray(small.resize((100, 80)), int) - np.asarray(whole.resize((100, 80)), int)
    assert np.abs(difference).mean() < 1


def test_a_reduced_jpeg_is_upright_and_complete() -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    data = photo((1600, 1200), exif=turned)
    assert decode(data, min_side=600).size == (600, 800)
    with pytest.raises(ImageProblem, match="truncated"):
        decode(data[: len(data) // 2], min_side=100)
    with pytest.raises(ImageProblem, match="1600x1200 is more than the 10,000 pixels allowed"):
        decode(data, min_side=100, max_pixels=10_000)


def test_other_formats_are_decoded_at_full_size() -> None:
    file = io.BytesIO()
    Image.effect_noise((900, 900), 30).save(file, "PNG")
    assert decode(file.getvalue(), min_side=100).size == (900, 900)


def test_color_modes_look_like_the_image(nasty_folder: Nasty, nasty: ModuleType) -> None:
    folder = nasty_folder[0]
    color = np.asarray(nasty.pattern()).astype(int)
    gray = np.asarray(nasty.pattern().convert("L").convert("RGB")).astype(int)
    for name, tolerance in {
        "cmyk-adobe.jpg": 40,
        "lab.tif": 40,
        "ycbcr.tif": 3,
        "progressive.jpg": 30,
        "palette.png": 60,
    }.items():
        assert np.abs(np.asarray(decode(folder / name)).astype(int) - color)[..., :2].mean() < tolerance, name
    for name in ("gray16.png", "gray16.tif", "gray32.tif", "float.tif"):
        assert np.abs(np.asarray(decode(folder / name)).astype(int) - gray).max() <= 1, name
    assert set(np.unique(np.asarray(decode(folder / "one-bit.png")))) == {0, 255}
    assert np.asarray(decode(folder / "color16.png")).tolist() == [[[128] * 3] * 2] * 2


def test_transparent_parts_become_white(nasty_folder: Nasty, nasty: ModuleType) -> None:
    alpha = np.asarray(nasty.pattern().convert("L")).astype(float)[..., None] / 255
    expected = np.asarray(nasty.pattern()) * alpha + 255 * (1 - alpha)
    assert np.abs(np.asarray(decode(nasty_folder[0] / "rgba.png")) - expected).max() <= 1.5
    assert decode(nasty_folder[0] / "gray-alpha.png").getpixel((0, 0)) == (255, 255, 255)
    for name in ("palette-clear.png", "clear.gif", "rgb-clear.png"):
        with Image.open(nasty_folder[0] / name) as image:
            clear = np.asarray(image.convert("RGBA"))[..., 3] == 0
        assert clear.any(), name
        assert (np.asarray(decode(nasty_folder[0] / name))[clear] == 255).all(), name


def test_the_first_frame_of_an_animation_is_decoded(nasty_folder: Nasty, nasty: ModuleType) -> None:
    first = np.asarray(nasty.pattern()).astype(int)
    for name in ("moving.gif", "moving.webp", "moving.png", "pages.tif", "stereo.mpo", "stereo.jpg"):
        seen = np.asarray(decode(nasty_folder[0] / name)).astype(int)
        assert np.abs(seen - first)[..., :2].mean() < 40 < np.abs(seen[::-1, ::-1] - first)[..., :2].mean(), name


def test_a_real_bomb_is_not_inflated() -> None:
    data = _bomb(5000)
    assert len(data) < 20_000
    assert (
        inspect(data, max_pixels=1_000_000).problem
        == "5000x5000 is more than the 1,000,000 pixels allowed (--max-pixels)"
    )
    assert decode(data, max_pixels=25_000_000).size == (5000, 5000)


def test_more_pixels_than_pillow_allows_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(_bomb(300), max_pixels=90_000).size == (300, 300)
    with pytest.raises(ImageProblem, match="300x300 is more than the 89,999 pixels allowed"):
        decode(_bomb(300), max_pixels=89_999)


def _bomb(side: int) -> bytes:
    import struct

    row = b"\0" + bytes(-(-side // 8))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * side, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.jpg", "no such file"),
        ("good.jpeg/below.jpg", "no such file"),
        ("n" * 300, "the name is too long"),
        ("nul\0.jpg", "not a file name: embedded null byte"),
        ("", "a folder"),
    ],
)
def test_files_that_cannot_be_read(nasty_folder: Nasty, path: str, reason: str) -> None:
    with pytest.raises(ImageProblem) as caught:
        decode(nasty_folder[0] / path)
    assert caught.value.reason == reason
    assert inspect(nasty_folder[0] / path) == Inspection(None, None, None, None, reason)


def test_permission_denied(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").chmod(0)
    if os.access(tmp_path / "a.jpg", os.R_OK):
        pytest.skip("this user may read everything")
    assert inspect(tmp_path / "a.jpg").problem == "permission denied"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a sparse file, which takes no disk space
    assert (
        inspect(path).problem == "1,073,741,825 bytes are more than the 1,073,741,824 allowed for the file of an image"
    )


def test_bytes_and_hashes(tmp_path: Path, nasty: ModuleType) -> None:
    data = nasty.encode(nasty.pattern(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert read_content(tmp_path / "a.png") == read_content(str(tmp_path / "a.png")) == read_content(data) == data
    assert inspect(tmp_path / "a.png") == inspect(data) == Inspection(content_hash(data), 64, 48, len(data), None)
    assert inspect(data[:100]).hash == content_hash(data[:100])


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.float32]), hnp.array_shapes(min_dims=1, max_dims=3)))
def test_the_hash_of_an_array_depends_on_shape_and_type(array: np.ndarray) -> None:
    assert content_hash(array) == content_hash(np.asfortranarray(array).copy())
    assert content_hash(array) != content_hash(array[None])
    assert content_hash(array) != content_hash(array.view(np.dtype(f"V{array.itemsize}")))


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.bool_, np.float16, np.float32, np.float64])
def test_arrays(channels: tuple[int, ...], dtype: type) -> None:
    white = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    array = np.full((5, 7, *channels), white, dtype=dtype)
    array[0, 0] = 0
    if channels == (4,):
        array[..., 3] = white
    image = decode(array)
    assert (image.mode, image.size) == ("RGB", (7, 5))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((6, 4)) == (255, 255, 255)
    seen = inspect(array)
    assert seen == Inspection(content_hash(array), 7, 5, array.nbytes, None, seen.values)
    assert (seen.values is None) == (dtype != np.uint16)


SHAPE = "the shape of an array must be (height, width) or (height, width, channels) with 1, 3 or 4 channels, got "
FLOATS = "an array of floats must lie in [0, 1], got "


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 224, 224), np.uint8), f"{SHAPE}(3, 224, 224)"),
        (np.zeros(5, np.uint8), f"{SHAPE}(5,)"),
        (np.zeros((0, 5), np.uint8), f"{SHAPE}(0, 5)"),
        (np.full((2, 2), 255.0), f"{FLOATS}255 to 255: divide by the value of white"),
        (np.full((2, 2), np.nan), f"{FLOATS}nan to nan: divide by the value of white"),
        (np.full((2, 2), -0.1), f"{FLOATS}-0.1 to -0.1: divide by the value of white"),
        (np.zeros((2, 2), np.int64), "an array must be of uint8, uint16, bool, or float in [0, 1], got int64"),
        (np.full((2, 2), "x"), "an array must be of uint8, uint16, bool, or float in [0, 1], got <U1"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageProblem) as caught:
        decode(array)
    assert caught.value.reason == reason == inspect(array).problem


@given(
    hnp.arrays(
        st.sampled_from([np.uint16, np.int32, np.float32]),
        (3, 4),
        elements={"allow_nan": False, "allow_infinity": False, "min_value": None, "max_value": None},
    ),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
)
def test_values_keep_their_order_and_are_clipped_to_the_range(values: np.ndarray, low: float, width: float) -> None:
    seen = to_8_bit(values, ValueRange("any", low, low + width)).astype(int)
    assert (np.diff(seen.ravel()[np.argsort(values.ravel())]) >= 0).all()
    exact = values.astype(np.float64)  # float32 would be compared with the limits rounded to float32
    assert (seen[exact <= low] == 0).all()
    assert (seen[exact >= low + width] == 255).all()


def test_not_a_number_is_black() -> None:
    values = np.array([np.nan, 1.0, np.inf], np.float32)
    assert to_8_bit(values, ValueRange("float", 0, 1)).tolist() == [0, 255, 0]


def test_threads_give_what_a_single_thread_gives(nasty_folder: Nasty) -> None:
    paths = list(nasty_folder[1]) * 3
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(inspect, paths)) == [inspect(path) for path in paths]


def test_pillow_warnings_are_hidden_and_others_are_not(nasty_folder: Nasty) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        for path in nasty_folder[1]:
            inspect(path)
        assert caught == []
        assert len(warnings.filters) == len(filters) + 1  # one, however many calls
        warnings.warn("mine", UserWarning, stacklevel=1)
        Image._decompression_bomb_check((10_000, 9_000))
        assert [warning.category for warning in caught] == [UserWarning, Image.DecompressionBombWarning]


def test_pillow_must_not_load_truncated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(SettingsError) as caught:
        decode(b"anything")
    assert str(caught.value) == (
        "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False: otherwise Pillow returns half gray images; "
        "some code of this program sets it to True"
    )


def test_several_threads_may_be_the_first_to_decode(nasty_folder: Nasty) -> None:
    """In a new process, where Pillow's plugins are not loaded yet."""
    code = (
        "import sys; from concurrent.futures import ThreadPoolExecutor; from headstart.data.decode import inspect\n"
        "with ThreadPoolExecutor(8) as pool: print([seen.problem for seen in pool.map(inspect, sys.argv[1:])])"
    )
    paths = [str(nasty_folder[0] / name) for name in ("good.webp", "good.tiff", "good.jp2", "good.jpeg") * 4]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([None] * 16)


def test_the_decoder_of_a_webp_is_freed_before_its_pixels_are_copied(tmp_path):
    path = tmp_path / "image.webp"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(path, lossless=True)
    with Image.open(path) as image, Image.open(path) as other:
        image.__class__ = OneFrame
        image.load()
        assert image._decoder is None
        assert image.tobytes() == other.tobytes()
