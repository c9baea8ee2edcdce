from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.data.inspection import inspect_all
from headstart.data.issues import CheckedImages, Issue, find_issues
from headstart.data.manifest import Manifest
from headstart.data.pixel_statistics import compute_statistics

Check = Callable[..., dict[str, list[Issue]]]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty different crops of two photographs, 96 pixels wide and high."""
    from skimage.data import astronaut, chelsea

    folder, rng = tmp_path_factory.mktemp("crops"), np.random.default_rng(0)
    made = []
    for number in range(40):
        pixels = (astronaut(), chelsea())[number % 2]
        top, left = rng.integers(0, 130), rng.integers(0, 280)
        made.append(folder / f"{number:02}.jpg")
        Image.fromarray(pixels[top : top + 160, left : left + 160]).resize((96, 96)).save(made[-1], quality=90)
    return made


@pytest.fixture
def found(crops: list[Path]) -> Check:
    """found(*images, labels=...): the issues by kind of the crops and these images."""

    def check(*images: Path, common: list[Path] | None = None) -> dict[str, list[Issue]]:
        manifest = inspect_all(Manifest.from_rows([*(crops if common is None else common), *images]), workers=1)
        measured = compute_statistics(manifest.usable, workers=1)
        issues: dict[str, list[Issue]] = {}
        for issue in find_issues(CheckedImages(manifest, measured.values, measured.formats)):
            issues.setdefault(issue.kind, []).append(issue)
        return issues

    return check


def _odd(kind: str, path: Path, source: Path) -> Path:
    image = Image.open(source)
    image.load()
    if kind == "tiny":
        image = image.resize((20, 20))
    elif kind == "extreme-shape":
        image = image.resize((400, 80))
    elif kind == "uniform":
        image = Image.new("RGB", image.size, (90, 120, 40))
    elif kind == "dark":
        image = image.point(lambda value: value * 0.15)
    elif kind == "bright":
        image = image.point(lambda value: 255 - (255 - value) * 0.2)
    elif kind == "blurred":
        image = image.filter(ImageFilter.GaussianBlur(8))
    exif = Image.Exif()
    if kind == "orientation":
        exif[0x0112] = 6
    image.save(path, "PNG" if kind == "extension" else "JPEG", exif=exif)
    return path


KINDS = ("tiny", "extreme-shape", "uniform", "dark", "bright", "blurred", "orientation", "extension")


def test_each_odd_image_is_found_once_and_no_other(found: Check, crops: list[Path], tmp_path: Path) -> None:
    images = {kind: _odd(kind, tmp_path / f"{kind}.jpg", crops[1]) for kind in KINDS}
    issues = found(*images.values())
    assert {kind: [issue.uri for issue in each] for kind, each in issues.items()} == {
        kind: [str(path)] for kind, path in images.items()
    }
    assert "20x20 pixels" in issues["tiny"][0].evidence
    assert "named .jpg, but its content is PNG" in issues["extension"][0].evidence
    assert "on its side" in issues["orientation"][0].evidence
    assert issues["uniform"][0].suggestion == "drop"
    assert all(0 <= issue.score <= 1 for each in issues.values() for issue in each)


@pytest.mark.parametrize("kind", ["tiny", "extreme-shape", "dark", "bright", "blurred"])
def test_what_all_images_of_a_set_are_is_not_odd(found: Check, crops: list[Path], tmp_path: Path, kind: str) -> None:
    assert kind not in found(common=[_odd(kind, tmp_path / path.name, path) for path in crops[:12]])


def test_photographs_alone_have_no_issues(found: Check) -> None:
    assert found() == {}


def test_thin_lines_on_a_plain_ground_are_not_blurred(found: Check, tmp_path: Path) -> None:
    pixels = np.full((96, 96), 128, np.uint8)
    pixels[10:86:12, 20:70] = 145
    Image.fromarray(pixels).save(tmp_path / "lines.png")
    assert "blurred" not in found(tmp_path / "lines.png")


def test_without_numbers_nothing_is_said() -> None:
    assert find_issues(CheckedImages(Manifest.from_rows(["/photos/a.jpg"]))) == []
