"""One scale for the pixels of a whole set that are not 8-bit: from the tags of its files, or from its values."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.data.decode import decode, header_size, inspect
from headstart.data.inspection import inspect_all
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.sources import base
from headstart.data.value_range import PixelValues, RangeChoice, ValueRange, choose_ranges, full_range, range_of

Array = np.ndarray[Any, Any]


def tif(array: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def png(array: Array) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG file with one more chunk after its header."""
    import struct
    import zlib

    made = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + made + data[33:]


def chosen(files: list[bytes]) -> RangeChoice:
    found = [inspect(each) for each in files]
    assert [each.problem for each in found] == [None] * len(files)
    return choose_ranges(each.values for each in found)


def gray(data: bytes | Array, *ranges: ValueRange) -> Array:
    return np.asarray(decode(data, value_ranges=ranges))[..., 0].astype(int)


Y, X = np.mgrid[:48, :64]
PICTURE = np.asarray(X * 4, np.uint8)  # 0 to 252
UNIT = PICTURE / 255


# -- the same picture, whatever its numbers are ------------------------------------------------------------------------


# How a picture in [0, 1] is stored: dtype, black, white, and the range that is expected.
KINDS: dict[str, tuple[type, float, float]] = {
    "8 bits in uint16": (np.uint16, 0, 255),
    "10 bits": (np.uint16, 0, 1023),
    "12 bits": (np.uint16, 0, 4095),
    "14 bits": (np.uint16, 0, 16383),
    "16 bits": (np.uint16, 0, 65535),
    "uint32": (np.uint32, 0, 65535),
    "int32": (np.int32, 0, 4095),
    "int16": (np.int16, 0, 4095),
    "float": (np.float32, 0, 1),
    "float, 0 to 255": (np.float32, 0, 255),
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 1000),
    peaks=st.lists(st.floats(0.02, 1), min_size=1, max_size=5),
    hot=st.integers(0, 2),
)
def test_images_of_more_bits_look_like_the_same_images_of_8_bits(
    kind: str, seed: int, peaks: list[float], hot: int
) -> None:
    dtype, black, white = KINDS[kind]
    rng = np.random.default_rng(seed)
    pictures = [rng.random((40, 50)) * peak for peak in (*peaks, 1)]
    files = []
    for picture in pictures:
        values = black + picture * (white - black)
        stored = values.astype(dtype) if dtype == np.float32 else np.rint(values).astype(dtype)
        stored.ravel()[:hot] = min(np.iinfo(dtype).max if dtype != np.float32 else 1e9, 60 * white)
        files.append(tif(stored))
    choice = chosen(files)
    (scale,) = choice.ranges
    assert (scale.low, scale.high) == (black, white)
    for picture, data in zip(pictures, files, strict=True):
        seen = gray(data, scale)
        assert np.abs(seen - np.rint(255 * picture)).ravel()[hot:].max() <= 1
        assert (seen.ravel()[:hot] == 255).all()


@settings(max_examples=30, deadline=None)
@given(low=st.integers(-1500, -1), high=st.integers(100, 3000), seed=st.integers(0, 99))
def test_signed_values_keep_their_order_and_contrast(low: int, high: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(low, high + 1, (60, 70)).astype(np.int16)
    choice = chosen([tif(values), tif(np.full((5, 5), low, np.int16))])
    (scale,) = choice.ranges
    assert scale.dtype == "int16"
    assert choice.guessed == {"int16"}
    assert scale.low == low
    assert high - 0.01 * (high - low) <= scale.high <= high
    expected = np.clip((values - scale.low) * 255 / (scale.high - scale.low), 0, 255)
    assert np.abs(gray(tif(values), scale) - expected).max() <= 0.5


def test_brightness_is_not_lost() -> None:
    dark, bright = (np.random.default_rng(0).random((40, 40)) * peak for peak in (0.06, 1))
    files = [png(np.rint(65535 * each).astype(np.uint16)) for each in (dark, bright)]
    (scale,) = chosen(files).ranges
    assert gray(files[0], scale).mean() < 10
    assert gray(files[1], scale).mean() > 100


def test_an_image_is_never_scaled_by_its_own_values() -> None:
    assert gray(png((UNIT * 4095).astype(np.uint16))).max() == 16
    assert gray(np.full((1, 1), 4095, np.uint16))[0, 0] == 16
    assert gray(tif((UNIT * 0.5).astype(np.float32))).max() == 126


# -- single values -----------------------------------------------------------------------------------------------------


def marked(values: Array, at: Any, value: float) -> Array:
    made = values.copy()
    made[at] = value
    return made


SPOT = (slice(5, 6), slice(5, 6))
LEFT = (slice(None), slice(0, 3))


@pytest.mark.parametrize(
    ("values", "options", "black"),
    [
        (marked(UNIT.astype(np.float32), SPOT, 1.2), {}, ()),
        (marked(UNIT.astype(np.float32), SPOT, -3), {}, SPOT),
        ((UNIT * 1.004).astype(np.float32), {}, ()),
        ((UNIT - 0.004).astype(np.float32), {}, ()),
        (marked(UNIT.astype(np.float32), LEFT, np.nan), {}, LEFT),
        (marked(UNIT.astype(np.float32), LEFT, np.inf), {}, LEFT),
        (marked(UNIT.astype(np.float32), LEFT, -9999), {}, LEFT),
        (marked(UNIT.astype(np.float32), LEFT, np.finfo(np.float32).min), {}, LEFT),
        (marked(UNIT.astype(np.float32), LEFT, 7e5), {"extratags": [(42113, "s", 0, "700000", True)]}, LEFT),
        (marked((UNIT * 4095).astype(np.uint16), LEFT, 65535), {"extratags": [(42113, "s", 0, "65535", True)]}, LEFT),
        (marked((UNIT * 4095).astype(np.uint16), SPOT, 4100), {}, ()),
        (((1 - UNIT) * 65535).astype(np.uint16), {"photometric": "miniswhite"}, ()),
        ((1 - UNIT).astype(np.float32), {"photometric": "miniswhite"}, ()),
        ((PICTURE.astype(int) - 128).astype(np.int8), {}, ()),
    ],
)
def test_single_values_do_not_change_the_rest(values: Array, options: dict[str, Any], black: Any) -> None:
    data = tif(values, **options)
    seen = gray(data, *chosen([data]).ranges)
    expected = np.rint(255 * UNIT)
    ignored = np.zeros(expected.shape, bool)
    ignored[SPOT] = True
    if black:
        ignored[black] = True
        assert (seen[black] == 0).all()
    assert np.abs(seen - expected)[~ignored].max() <= 2


def test_nodata_stays_black_where_white_is_zero() -> None:
    values = marked(((1 - UNIT) * 65535).astype(np.uint16), LEFT, 7)
    seen = gray(tif(values, photometric="miniswhite", extratags=[(42113, "s", 0, "7", True)]))
    assert (seen[LEFT] == 0).all()
    assert np.abs(seen - np.rint(255 * UNIT))[:, 3:].max() <= 1


# -- what files state --------------------------------------------------------------------------------------------------


def test_significant_bits_of_a_png_settle_the_range() -> None:
    unscaled = chunk(png((UNIT * 2000).astype(np.uint16)), b"sBIT", b"\x0c")
    scaled = chunk(png((UNIT * 65535).astype(np.uint16)), b"sBIT", b"\x0c")
    for data, white in ((unscaled, 4095), (scaled, 65535)):
        choice = chosen([data])
        assert choice == RangeChoice((ValueRange("uint16", 0, white),))
        assert choice.lines() == [f"pixel values: uint16, 0 to {white} is black to white"]


def test_tags_of_a_tiff_settle_the_range() -> None:
    files = [
        tif((UNIT * 900).astype(np.uint16), extratags=[(340, "H", 1, low, True), (341, "H", 1, high, True)])
        for low, high in ((100, 2000), (50, 1000))
    ]
    choice = chosen(files)
    assert choice == RangeChoice((ValueRange("uint16", 50, 2000),))


def test_a_tiff_of_12_bits_needs_no_guess() -> None:
    row = np.array([0, 1024, 2048, 4095])
    packed = np.packbits(np.unpackbits(row.astype(">u2").view(np.uint8)).reshape(4, 16)[:, 4:])
    out = io.BytesIO()
    tifffile.imwrite(out, row.astype(np.uint16)[None])
    data = out.getvalue()
    made = Image.open(io.BytesIO(data))
    start, size = made.tag_v2[273][0], made.tag_v2[279][0]  # type: ignore[attr-defined]
    assert size == 8
    data = data[:start] + packed.tobytes().ljust(8, b"\0") + data[start + 8 :]
    bits = data.index(b"\x02\x01\x03\x00\x01\x00\x00\x00\x10\x00")  # tag 258: 16 bits
    data = data[: bits + 8] + b"\x0c" + data[bits + 9 :]
    choice = chosen([data])
    assert choice == RangeChoice((ValueRange("uint12", 0, 4095),))
    assert gray(data)[0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize("kind", ["JPEG2000", "PPM"])
def test_formats_that_state_their_white(kind: str) -> None:
    out = io.BytesIO()
    Image.fromarray((UNIT * 65535).astype(np.uint16)).save(out, kind)
    assert chosen([out.getvalue()]) == RangeChoice((ValueRange("uint16", 0, 65535),))
    assert np.abs(gray(out.getvalue()) - np.rint(255 * UNIT)).max() <= 1


# -- 16 bits per color -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("white", [4095, 65535])
@pytest.mark.parametrize("make", ["png", "tif", "big-endian tif", "deflated tif"])
def test_colors_of_16_bits(make: str, white: int) -> None:
    rgb = np.stack([UNIT, UNIT[:, ::-1], (X * Y % 256) / 255], -1)
    values = np.rint(rgb * white).astype(np.uint16)
    options: dict[str, Any] = {"photometric": "rgb"}
    if make == "png":
        data = png_of_16_bit_colors(values)
    elif make == "deflated tif":
        data = tif(values, compression="zlib", **options)
    else:
        data = tif(values, byteorder=">" if make.startswith("big") else "<", **options)
    (scale,) = chosen([data]).ranges
    assert scale == ValueRange("uint16", 0, white)
    assert np.abs(np.asarray(decode(data, value_ranges=[scale])) - np.rint(255 * rgb)).max() <= 1


def png_of_16_bit_colors(values: Array) -> bytes:
    import struct
    import zlib

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


# -- the choice --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_told_apart_is_said_to_be_guessed() -> None:
    choice = choose_ranges([PixelValues("uint16", 0, 3900)])
    assert choice.lines() == ["pixel values: uint16, 0 to 4095 is black to white (guessed; --value-range settles it)"]
    assert choose_ranges([PixelValues("uint16", 0, 60000)]).guessed == frozenset()


def test_each_type_has_its_own_range() -> None:
    values = [None, PixelValues("uint16", 0, 900), PixelValues("float", 0, 0.9), None, PixelValues("uint16", 3, 1000)]
    choice = choose_ranges(values)
    assert choice.ranges == (ValueRange("float", 0, 1), ValueRange("uint16", 0, 1023))
    assert range_of("uint16", choice.ranges).high == 1023
    assert range_of("int16", choice.ranges) == full_range("int16")
    assert choose_ranges([None, None]) == RangeChoice(())


def test_values_that_fit_no_bit_depth_have_their_own_range() -> None:
    thermal = choose_ranges([PixelValues("uint16", 29500, 31000), PixelValues("uint16", 29000, 30500)])
    assert thermal.ranges == (ValueRange("uint16", 29000, 31000),)
    heights = choose_ranges([PixelValues("float", 2.0, 3000.0)])
    assert heights.ranges == (ValueRange("float", 0, 4095),)
    faint = choose_ranges([PixelValues("float", 0.0, 0.004)])
    assert faint.ranges == (ValueRange("float", 0, 0.004),)


def test_two_bit_depths_in_one_set_are_a_warning() -> None:
    mixed = [PixelValues("uint16", 0, 4095 - row) for row in range(20)]
    mixed += [PixelValues("uint16", 0, 65535 - row) for row in range(20)]
    (warning,) = choose_ranges(mixed).warnings
    assert "the uint16 images have two ranges: 20 end at 4095 or below, 20 at 65516 or above" in warning
    assert choose_ranges(mixed[:20]).warnings == ()
    shades = [PixelValues("uint16", 0, 65535 / 1.5**row) for row in range(20)]
    assert choose_ranges(shades).warnings == ()


def test_a_few_images_that_are_brighter_than_the_rest_are_clipped_and_told() -> None:
    values = [PixelValues("uint16", 0, 4000)] * 995 + [PixelValues("uint16", 0, 65535)] * 5
    choice = choose_ranges(values)
    assert choice.ranges == (ValueRange("uint16", 0, 4095),)
    assert choice.warnings[0].startswith("5 of 1,000 uint16 images go above 4095 and are clipped there")


@given(st.lists(st.tuples(st.floats(0, 7e4), st.floats(0, 7e4)), min_size=1, max_size=30), st.randoms())
def test_the_choice_does_not_depend_on_the_order(bounds: list[tuple[float, float]], random: Any) -> None:
    values = [PixelValues("uint16", min(each), max(each)) for each in bounds]
    choice = choose_ranges(values)
    random.shuffle(values)
    assert choose_ranges(values) == choice
    assert choice.ranges[0].low < choice.ranges[0].high


# -- arrays, the manifest and the cache --------------------------------------------------------------------------------


def test_arrays() -> None:
    twelve = (UNIT * 4095).astype(np.uint16)
    manifest = inspect_all(Manifest.from_arrays([twelve, PICTURE, UNIT]))
    assert [each and each.dtype for each in manifest.values] == ["uint16", None, None]
    (scale,) = choose_ranges(manifest.values).ranges
    assert scale == ValueRange("uint16", 0, 4095)
    assert np.abs(gray(twelve, scale) - PICTURE).max() <= 1
    assert (gray(PICTURE, scale) == PICTURE).all()  # 8 bits have no range
    wide = UNIT * 3 - 1
    assert (inspect(wide).problem or "").startswith("an array of floats must lie in [0, 1]")
    assert inspect(wide, value_ranges=[ValueRange("any", -1, 2)]).problem is None
    assert np.abs(gray(wide, ValueRange("any", -1, 2)) - PICTURE).max() <= 1


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_SETTLED", -(10**12))


@pytest.mark.usefixtures("settled")
def test_values_are_kept_in_the_manifest_and_in_the_cache(tmp_path: Path, pictures: Callable[..., list[Path]]) -> None:
    deep = tmp_path / "deep.png"
    deep.write_bytes(png((UNIT * 4000).astype(np.uint16)))
    paths, cache = [deep, *pictures(2)], tmp_path / "cache.parquet"
    first = inspect_all(Manifest.from_rows(paths), cache=InspectionCache(cache))
    assert first.values[1:] == [None, None]
    assert first.values[0] == inspect(deep).values
    assert first.values[0] is not None
    assert first.values[0].dtype == "uint16"
    assert first.values[0].high == pytest.approx(4000, rel=0.02)
    assert inspect_all(Manifest.from_rows(paths), cache=InspectionCache(cache)).values == first.values
    first.write(tmp_path / "manifest.parquet")
    assert Manifest.read(tmp_path / "manifest.parquet").values == first.values


# -- files that Pillow does not read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "options", "layout"),
    [
        (np.zeros((8, 9, 3), np.float32), {"photometric": "rgb"}, "3 channels of 32-bit floats"),
        (np.zeros((8, 9), np.float16), {}, "1 channel of 16-bit floats"),
        (np.zeros((8, 9)), {}, "1 channel of 64-bit floats"),
        (np.zeros((8, 9, 3), np.int16), {"photometric": "rgb"}, "3 channels of 16-bit signed integers"),
    ],
)
def test_the_layout_of_a_tiff_that_cannot_be_read_is_named(array: Array, options: dict[str, Any], layout: str) -> None:
    reason = f"a TIFF of {layout}, which Pillow does not read: save it with 1 or 3 channels of 8 or 16 bits"
    assert inspect(tif(array, **options)).problem == reason


def test_planes_of_16_bits_are_refused_where_pillow_would_mix_them_up() -> None:
    planes = np.random.default_rng(0).integers(0, 65536, (3, 48, 64), np.uint16)
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}
    assert inspect(tif(planes, **options)).problem == (
        "a TIFF of 16 bits whose channels are stored apart, which Pillow does not read: save them interleaved"
    )
    seen = np.asarray(decode(tif(planes, compression="zlib", **options)))
    assert np.abs(seen - np.rint(planes.transpose(1, 2, 0) / 257)).max() <= 1


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt", "iCCP"])
def test_a_png_with_large_texts_or_profiles_is_read(kind: str, place: str) -> None:
    import zlib

    many = {"tEXt": 70, "zTXt": 1, "iTXt": 1, "iCCP": 1}[kind]
    text = b"a cat, " * 400_000
    content = {
        "tEXt": b"parameters\0" + text[: 1 << 20],
        "zTXt": b"parameters\0\0" + zlib.compress(text),
        "iTXt": b"parameters\0\1\0\0\0" + zlib.compress(text),
        "iCCP": b"profile\0\0" + zlib.compress(text),
    }[kind]
    plain = png(PICTURE)
    chunks = chunk(plain, kind.encode(), content)[33 : 33 - len(plain)] * many
    at = 33 if place == "before" else len(plain) - 12  # the pixels
    data = plain[:at] + chunks + plain[at:]
    assert inspect(data).problem is None
    assert decode(data).tobytes() == decode(plain).tobytes()
    assert header_size(data) == (64, 48)
