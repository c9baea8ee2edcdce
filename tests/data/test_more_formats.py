from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from headstart.data.decode import decode, header_size, inspect
from headstart.data.formats import is_image_name
from headstart.data.issues import find_issues
from headstart.data.issues.base import CheckedImages
from headstart.data.manifest import Manifest
from headstart.data.pixel_statistics import compute_statistics
from headstart.errors import ImageProblem

RAMP = np.add.outer(2 * np.arange(40), 2 * np.arange(60)).astype(np.uint8)
COLORS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)

# COLORS as libheif and x265 encode it. The package that reads HEIC here has no encoder.
HEIC = """AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA
AAAERAAAEAAQAAAAABoQABAAAAAAAAAFkAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA
AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA
AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA
AAAoY2xhcAAAADwAAAABAAAAKAAAAAH////8AAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAG
FtZGF0AAAAVSgBrxOA9ZzbFToQBv1Gxm/JU6jwwZlQaCJNQbTe2T9CmLMMYgeF6o/FF9h4QvhJ7SmPp9R7ByDVL8VlNS4B/rAukDWBIejpltiI
T29mpbMseorpbNs="""


def test_heic_is_read_at_its_size_and_with_its_colors() -> None:
    pytest.importorskip("pi_heif")
    content = base64.b64decode(HEIC)
    assert header_size(content) == (60, 40)
    assert inspect(content).problem is None
    assert np.abs(np.asarray(decode(content)).astype(int) - COLORS).mean() < 3
    assert "damaged" in str(inspect(content[: len(content) // 2]).problem)


@pytest.mark.parametrize(
    ("package", "extra", "content"),
    [
        ("pi_heif", "formats", base64.b64decode(HEIC)),
        ("imagecodecs", "formats", b"\xff\x0a\x91\x24\x08\x04\x01\x00\x1c\x00\x4b\x00"),
        ("pydicom", "dicom", bytes(128) + b"DICM"),
    ],
)
def test_a_file_whose_package_is_missing_names_the_extra(package: str, extra: str, content: bytes) -> None:
    program = (
        "import importlib.util, sys\n"
        f"find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *more: None if name == {package!r} else find(name, *more)\n"
        "from headstart.data.decode import inspect\n"
        "print(inspect(sys.stdin.buffer.read()).problem)"
    )
    found = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=True)
    assert f'run "pip install headstart[{extra}]"' in found.stdout.decode()


@pytest.mark.parametrize("shape", [(256, 256), (40, 60), (300, 201), (8, 16), (1080, 1920), (7, 5)])
def test_the_header_of_jpeg_xl_has_the_size(shape: tuple[int, int]) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    content = imagecodecs.jpegxl_encode(np.zeros((*shape, 3), np.uint8), effort=1)
    assert header_size(content) == shape[::-1]


@pytest.mark.parametrize("pixels", [RAMP, COLORS, RAMP.astype(np.uint16) * 257, COLORS.astype(np.float32) / 255])
def test_jpeg_xl_is_read_with_any_depth(pixels: np.ndarray) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    content = imagecodecs.jpegxl_encode(pixels, lossless=True)
    expected = COLORS if pixels.ndim == 3 else np.dstack([RAMP] * 3)
    assert np.array_equal(np.asarray(decode(content)), expected)
    values = inspect(content).values
    assert (values is None) == (pixels.dtype == np.uint8)
    assert values is None or values.stated
    assert inspect(content[: len(content) // 2]).problem == "truncated: the file ends before the image does"


def test_jpeg_xl_with_transparency_has_white_behind_it() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    pixels = np.dstack([COLORS, np.zeros_like(RAMP)])
    assert np.asarray(decode(imagecodecs.jpegxl_encode(pixels, lossless=True))).min() == 255


def test_jpeg_xl_larger_than_allowed_is_refused_before_it_is_decoded() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    content = imagecodecs.jpegxl_encode(np.zeros((500, 500, 3), np.uint8), effort=1)
    with pytest.raises(ImageProblem, match="500x500 is more than the 1,000 pixels allowed"):
        decode(content, max_pixels=1000)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_read_by_pillow_itself() -> None:
    made = io.BytesIO()
    Image.fromarray(COLORS).save(made, "AVIF", quality=90)
    assert np.abs(np.asarray(decode(made.getvalue())).astype(int) - COLORS).mean() < 4


def test_files_of_these_formats_count_as_images() -> None:
    assert all(is_image_name(f"a{suffix}") for suffix in (".heic", ".HEIF", ".jxl", ".dcm", ".avif"))


def test_a_check_says_which_files_have_several_frames_and_which_have_a_wrong_name(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(COLORS, shift, 0)) for shift in (0, 10, 20)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "phone.heic", "JPEG")
    manifest = Manifest.from_rows(sorted(tmp_path.iterdir()))
    measured = compute_statistics(manifest)
    found = find_issues(CheckedImages(manifest, measured.values, measured.formats))
    told = {issue.uri: issue.evidence for issue in found if issue.kind == "frames"}
    assert sorted(told) == [str(tmp_path / name) for name in ("a.gif", "a.png", "a.tif", "a.webp")]
    assert told[str(tmp_path / "a.gif")] == "GIF of 3 frames, of which the first is taken"
    assert "--frames all" in told[str(tmp_path / "a.tif")]
    assert [issue.uri for issue in found if issue.kind == "extension"] == [str(tmp_path / "phone.heic")]
