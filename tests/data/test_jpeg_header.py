"""Which JPEG files count as plain, told by their headers."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstart.data.jpeg_header import JpegLayout, plain_layout


def oriented(image: Image.Image, value: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "options", "sampling"),
    [
        ("RGB", {"subsampling": 0}, (1, 1, 1, 1, 1, 1)),
        ("RGB", {"subsampling": 1}, (2, 1, 1, 1, 1, 1)),
        ("RGB", {"subsampling": 2}, (2, 2, 1, 1, 1, 1)),
        ("RGB", {"restart_marker_rows": 1, "comment": b"\xff\xd9\xff\xda"}, (2, 2, 1, 1, 1, 1)),
        ("RGB", {"icc_profile": b"profile" * 20_000}, (2, 2, 1, 1, 1, 1)),
        ("L", {}, (1, 1)),
    ],
)
def test_plain_files(nasty: ModuleType, mode: str, options: dict[str, Any], sampling: tuple[int, ...]) -> None:
    data = nasty.encode(nasty.pattern(161, 99).convert(mode), "JPEG", **options)
    assert plain_layout(data) == JpegLayout(161, 99, sampling)
    assert plain_layout(data + b"trailing") == JpegLayout(161, 99, sampling)


def test_other_files(nasty: ModuleType) -> None:
    image = nasty.pattern(64, 48)
    for name, data in {
        "PNG": nasty.encode(image, "PNG"),
        "progressive": nasty.encode(image, "JPEG", progressive=True),
        "CMYK": nasty.encode(image.convert("CMYK"), "JPEG"),
        "RGB": nasty.encode(image, "JPEG", keep_rgb=True),
        "two images": nasty.encode(image, "MPO", save_all=True, append_images=[image]),
        "empty": b"",
    }.items():
        assert plain_layout(data) is None, name


def test_only_upright_files_are_plain(nasty: ModuleType) -> None:
    image = nasty.pattern(64, 48)
    assert plain_layout(oriented(image, 1)) is not None
    for value in (2, 3, 4, 5, 6, 7, 8, 0, 9):
        assert plain_layout(oriented(image, value)) is None, value
    assert plain_layout(nasty.encode(image, "JPEG", exif=b"Exif\0\0II*\0")) is None  # cut off


def test_rgb_and_other_component_names_are_not_plain(nasty: ModuleType) -> None:
    """Without a JFIF or Adobe marker, the names of the components tell the colors, and decoders differ on them."""
    data = nasty.encode(nasty.pattern(64, 48), "JPEG", subsampling=0)
    jfif = data.index(b"\xff\xe0")
    bare = data[:jfif] + data[jfif + 2 + int.from_bytes(data[jfif + 2 : jfif + 4], "big") :]
    assert plain_layout(bare) is not None
    named = bytearray(bare)
    frame = named.index(b"\xff\xc0")
    for number, name in enumerate(b"RGB"):
        named[frame + 10 + 3 * number] = name
    assert plain_layout(bytes(named)) is None
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
    for transform, is_plain in ((0, False), (1, True), (2, False)):
        assert (plain_layout(data[:2] + adobe + bytes([transform]) + data[2:]) is not None) is is_plain


def test_truncated_files_are_not_plain(nasty: ModuleType) -> None:
    data = nasty.encode(nasty.pattern(64, 48), "JPEG")
    assert all(plain_layout(data[:cut]) is None for cut in range(len(data) - 1))


@given(st.data())
def test_damage_raises_nothing(nasty: ModuleType, data: st.DataObject) -> None:
    damaged = bytearray(oriented(nasty.pattern(33, 27), 1))
    for position in data.draw(st.lists(st.integers(0, 250), min_size=1, max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    found = plain_layout(bytes(damaged))
    assert found is None or (found.width > 0 and found.height > 0)
