"""An image truncated anywhere is either reported or has the same pixels; inspect and decode agree."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.data.decode import decode, inspect
from headstart.errors import ImageProblem

JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 90, "progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "full color": {"subsampling": 0, "quality": 97},
    "progressive full color": {"subsampling": 0, "progressive": True},
}
OTHERS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "BMP": {},
    "PPM": {},
    "TGA": {},
    "JPEG2000": {},
}
TRUNCATED = "truncated: the file ends before the image does"


def test_decode_succeeds_where_inspect_does(nasty: ModuleType) -> None:
    for options in JPEGS.values():
        data = nasty.encode(nasty.pattern(161, 99), "JPEG", **options)
        for cut in [*range(0, len(data), 211), *range(len(data) - 40, len(data) + 1)]:
            if _problem(data[:cut]) is None:  # all pixels are there, and perhaps the end marker is missing
                assert decode(data[:cut]).tobytes() == decode(data).tobytes()
                assert cut > len(data) - 5


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_truncated_jpeg_with_an_added_end_marker_is_a_problem(nasty: ModuleType, mode: str, kind: str) -> None:
    image = nasty.pattern(163, 101).convert(mode)
    options = JPEGS[kind] if mode == "RGB" else {k: v for k, v in JPEGS[kind].items() if k != "subsampling"}
    data = nasty.encode(image, "JPEG", **options)
    start = data.index(b"\xff\xda") + 20
    # The first scan of a progressive file alone is a valid image, though a coarse one.
    end = data.index(b"\xff\xda", start) - 100 if "progressive" in kind else len(data) - 100
    for cut in range(start, end, 61):
        assert _problem(data[:cut] + b"\xff\xd9") == TRUNCATED, cut


def test_a_jpeg_that_ends_in_zeros_is_a_problem(nasty: ModuleType) -> None:
    data = nasty.encode(nasty.pattern(161, 99), "JPEG", quality=90)
    for cut in range(data.index(b"\xff\xda") + 20, len(data) - 1, 61):
        for more in (0, 4096):
            assert _problem(data[:cut] + bytes(len(data) - cut + more)) == TRUNCATED


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 33), (64, 48)])
def test_a_complete_gray_jpeg_is_no_problem(
    nasty: ModuleType, mode: str, progressive: bool, size: tuple[int, int]
) -> None:
    for shade in range(124, 133):
        image = Image.new("L", size, shade).convert(mode)
        assert _problem(nasty.encode(image, "JPEG", progressive=progressive)) is None
        assert _problem(nasty.encode(image, "JPEG", progressive=progressive) + b"trailing" * 99) is None


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_complete_or_reported(nasty: ModuleType, kind: str) -> None:
    data = nasty.encode(nasty.pattern(61, 39).convert("P" if kind == "GIF" else "RGB"), kind, **OTHERS[kind])
    whole = decode(data).tobytes()
    good = 0
    for cut in [*range(0, len(data), len(data) // 80), *range(len(data) - 30, len(data) + 1)]:
        if _problem(data[:cut]) is None:
            good += 1
            assert decode(data[:cut]).tobytes() == whole
    assert good < 35  # a few bytes after the last pixel may be missing


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_anywhere_gives_an_image_or_a_reason(nasty: ModuleType, data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "MPO", "PCX", "TGA", "JPEG2000"])
    )
    good = bytearray(nasty.encode(nasty.pattern(33, 27), kind))
    for position in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=6)):
        good[position] = data.draw(st.integers(0, 255))
    seen = inspect(bytes(good), max_pixels=1_000_000)
    if seen.problem is None:
        assert decode(bytes(good)).size == (seen.width, seen.height)
    else:  # decode may still succeed on damaged data: missing blocks are easier to detect at an eighth of the size
        assert " at 0x" not in seen.problem
        assert re.match(r"truncated|damaged|not an image|a TIFF of|\d+x\d+ is more than", seen.problem)


def test_the_first_frame_survives_truncation_of_the_second(nasty: ModuleType) -> None:
    frames = {"save_all": True, "append_images": [nasty.pattern().transpose(Image.Transpose.ROTATE_180)]}
    for kind in ("MPO", "GIF", "PNG"):
        whole = nasty.encode(nasty.pattern().convert("P" if kind == "GIF" else "RGB"), kind, **dict(frames))
        assert decode(whole[: len(whole) * 9 // 10]).tobytes() == decode(whole).tobytes()


def _problem(data: bytes) -> str | None:
    """The problem of a file; inspect and decode must agree, so that nothing fails after it was inspected."""
    seen = inspect(data)
    if seen.problem is None:
        assert decode(data).size == (seen.width, seen.height)
    else:
        with pytest.raises(ImageProblem) as caught:
            decode(data)
        assert caught.value.reason == seen.problem
    return seen.problem


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("kind", ["baseline", "restarts", "full color", "progressive", "flat"])
@pytest.mark.parametrize("seed", range(2))
def test_a_jpeg_without_its_end_is_used_only_if_no_pixel_is_missing(
    nasty: ModuleType, mode: str, kind: str, seed: int
) -> None:
    """Cut at every position: what is accepted has the pixels of the whole file."""
    size = [(24, 17), (33, 40)][seed]
    image = (Image.new("RGB", size, (90, 120, 30)) if kind == "flat" else nasty.pattern(*size)).convert(mode)
    options = {} if kind == "flat" else JPEGS[kind]
    data = nasty.encode(image, "JPEG", **{k: v for k, v in options.items() if mode == "RGB" or k != "subsampling"})
    whole = decode(data).tobytes()
    accepted = 0
    for cut in range(data.index(b"\xff\xda"), len(data)):
        seen = inspect(data[:cut])
        if seen.problem is None:
            accepted += 1
            assert decode(data[:cut]).tobytes() == whole, cut
        else:
            assert seen.problem.startswith(("truncated", "damaged"))
    assert accepted <= 4
    if kind in ("baseline", "full color"):
        assert _problem(data[:-2]) is None
        assert _problem(data[:-2] + bytes(64)) == TRUNCATED
