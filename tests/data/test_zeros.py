"""Files of which blocks were lost and read as zeros are set aside; honest zeros are not."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, features

from headstart.data.decode import decode, inspect
from headstart.data.png import damaged_chunk
from headstart.data.zeros import zero_runs
from headstart.errors import ImageProblem

BLOCK = 4096
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG optimized": ("JPEG", {"quality": 90, "optimize": True}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {"quality": 90}),
    "WebP lossless": ("WEBP", {"lossless": True, "method": 0}),
    "JPEG 2000": ("JPEG2000", {}),
    "JPEG 2000 lossy": ("JPEG2000", {"irreversible": True, "quality_layers": [2]}),
    "J2K": ("JPEG2000", {"no_jp2": True}),
    "AVIF": ("AVIF", {"quality": 90, "speed": 10}),
    "TIFF LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF JPEG": ("TIFF", {"compression": "jpeg", "quality": 90}),
    "TIFF PackBits": ("TIFF", {"compression": "packbits"}),
}
COMPLETELY = r"[\d,]+ zero bytes from offset [\d,]+: the file was not written or copied completely"
REASON = re.compile(rf"{COMPLETELY}|truncated|damaged")

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def encoded(nasty: ModuleType) -> dict[str, bytes]:
    """A photo, which is a gradient with blurred noise, in each format."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (200, 240, 3), np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    photo = Image.blend(nasty.pattern(240, 200), noise, 0.5)
    return {
        name: nasty.encode(photo.crop((0, 0, 100, 100)) if kind == "JPEG2000" else photo, kind, **options)  # it is slow
        for name, (kind, options) in KINDS.items()
        if kind != "AVIF" or features.check("avif")
    }


def problem(data: bytes) -> str | None:
    """What inspection finds, if decoding agrees."""
    seen = inspect(data)
    if seen.problem is None:
        assert decode(data).size == (seen.width, seen.height)
    else:
        assert REASON.match(seen.problem), seen.problem
        with pytest.raises(ImageProblem):
            decode(data)
    return seen.problem


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_block_is_a_problem(encoded: dict[str, bytes], kind: str) -> None:
    data = encoded.get(kind) or pytest.skip("this Pillow has no AVIF")
    assert problem(data) is None
    assert len(data) > 2 * BLOCK
    for first in range(BLOCK, len(data) - BLOCK, BLOCK * (1 + len(data) // 80_000)):
        for count in (1, 3):
            end = min(first + count * BLOCK, len(data))
            assert problem(data[:first] + bytes(end - first) + data[end:]), (first, count)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_to_the_end_are_a_problem(encoded: dict[str, bytes], kind: str) -> None:
    data = encoded.get(kind) or pytest.skip("this Pillow has no AVIF")
    for cut in [*range(1000, len(data) - 300, len(data) // 14), *range(BLOCK, len(data) - 300, 4 * BLOCK)]:
        assert problem(data[:cut] + bytes(len(data) - cut)), cut


def test_the_reason_names_the_zeros(encoded: dict[str, bytes]) -> None:
    data = encoded["WebP lossless"]
    lost = data[: 2 * BLOCK] + bytes(BLOCK) + data[3 * BLOCK :]
    assert problem(lost) == "4,096 zero bytes from offset 8,192: the file was not written or copied completely"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_lost_part_is_taken_for_a_whole_image(encoded: dict[str, bytes], data: st.DataObject) -> None:
    whole = encoded[data.draw(st.sampled_from(sorted(encoded)))]
    blocks = -(-len(whole) // BLOCK)
    first = data.draw(st.integers(0, blocks - 2))
    lost = bytearray(whole)
    for block in data.draw(st.sets(st.integers(first, blocks - 2), min_size=1)):
        lost[block * BLOCK : (block + 1) * BLOCK] = bytes(BLOCK)
    if bytes(lost) != whole:
        assert inspect(bytes(lost)).problem is not None


def flat_images() -> Iterator[Image.Image]:
    """Images with large areas of one color, the data of which may be zeros."""
    rng = np.random.default_rng(1)
    for shade in (0, 255):
        pixels = np.full((700, 1000, 3), shade, np.uint8)
        yield Image.fromarray(pixels)
        pixels[:60] = rng.integers(0, 256, (60, 1000, 3))
        yield Image.fromarray(pixels)
        yield Image.fromarray(pixels[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_flat_areas_are_no_problem(nasty: ModuleType, kind: str) -> None:
    name, options = KINDS[kind]
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    for image in flat_images():
        assert inspect(nasty.encode(image, name, **options)).problem is None


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_outside_the_pixels_are_no_problem(encoded: dict[str, bytes], kind: str, nasty: ModuleType) -> None:
    """Padding of metadata, and of the whole file to the blocks of a disk."""
    data, (name, options) = encoded.get(kind) or pytest.skip("this Pillow has no AVIF"), KINDS[kind]
    if name == "PNG":
        metadata: dict[str, Any] = {"exif": exif_with_zeros()}
    elif name == "TIFF":
        metadata = {"tiffinfo": {37500: bytes(5 * BLOCK)}}
    elif name == "JPEG2000":
        metadata = {"comment": "\0" * 5 * BLOCK}
    else:
        metadata = {"exif": exif_with_zeros(), "icc_profile": bytes(5 * BLOCK)}
    image = decode(data)
    assert inspect(nasty.encode(image, name, **options, **metadata)).problem is None
    for more in (700, 3 * BLOCK, -len(data) % BLOCK + BLOCK):
        assert inspect(data + bytes(more)).problem is None


def exif_with_zeros() -> bytes:
    exif = Image.Exif()
    exif[0x927C] = bytes(5 * BLOCK)  # the maker's note, which cameras pad
    return exif.tobytes()


@pytest.mark.parametrize(("kind", "options"), [("BMP", {}), ("TIFF", {}), ("TGA", {}), ("PPM", {})])
def test_black_pixels_that_are_not_compressed_are_no_problem(
    nasty: ModuleType, kind: str, options: dict[str, Any]
) -> None:
    pixels = np.full((300, 400, 3), 77, np.uint8)
    pixels[100:200] = 0
    assert inspect(nasty.encode(Image.fromarray(pixels), kind, **options)).problem is None
    assert inspect(nasty.encode(Image.new("RGB", (400, 300)), kind, **options)).problem is None


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 90)), max_size=12), st.integers(1, 60), st.data())
def test_runs_of_zeros(parts: list[tuple[int, int]], minimum: int, data: st.DataObject) -> None:
    content = b"".join(bytes([value]) * count for value, count in parts)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    expected = [found.span() for found in re.compile(rb"\0{%d,}" % minimum).finditer(content, start, end)]
    assert list(zero_runs(content, start, end, minimum)) == expected


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def test_the_checksums_of_a_png_are_verified(nasty: ModuleType) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    header = struct.pack(">IIBBBBB", 50, 40, 8, 2, 0, 0, 0)
    body = [(b"IDAT", stream[start : start + 1000]) for start in range(0, len(stream), 1000)]
    data = png_of((b"IHDR", header), *body, (b"tEXt", b"a\0b"), (b"IEND", b""))
    assert problem(data) is None
    assert problem(data + bytes(10_000)) is None
    tried = 0
    for position in range(data.index(b"IDAT") + 4, data.rindex(b"IDAT"), 97):
        damaged = bytearray(data)
        damaged[position] ^= 4
        tried += 1
        assert (inspect(bytes(damaged)).problem or "").startswith("damaged: "), position
    assert tried > 50
    first = data.index(b"IDAT")
    damaged = bytearray(data)
    damaged[first + 4 + 1000] ^= 1  # of the checksum itself
    assert damaged_chunk(bytes(damaged)) == f"chunk 'IDAT' at offset {first - 4} differs from its checksum"
    text = data.index(b"tEXt")
    damaged = bytearray(data)
    damaged[text + 5] ^= 1
    assert damaged_chunk(bytes(damaged)) is None  # not critical, and after the pixels
    assert damaged_chunk(b"no PNG") is None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    assert damaged_chunk(buffer.getvalue()) is None
