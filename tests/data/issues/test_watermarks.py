"""Watermarks of one class, drawn on crops of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from sklearn.datasets import load_digits

from headstart.config import FitSettings
from headstart.data.gray_thumbnails import SIDE, GrayThumbnails, compute_thumbnails, sample_of_classes
from headstart.data.inspection import inspect_all
from headstart.data.issues import CheckedImages
from headstart.data.issues.watermarks import find_watermarks
from headstart.data.manifest import Manifest
from headstart.workflow.check import check
from headstart.workflow.reading import read

WIDTH, HEIGHT = 240, 180


def crops(photograph: np.ndarray, count: int, seed: int) -> list[Image.Image]:
    """Crops of a photograph, of many places and sizes."""
    rng, whole = np.random.default_rng(seed), Image.fromarray(photograph)
    made = []
    for _ in range(count):
        scale = rng.uniform(0.3, 0.7)
        width, height = (round(scale * side) for side in whole.size)
        left, top = int(rng.integers(0, whole.width - width)), int(rng.integers(0, whole.height - height))
        made.append(whole.crop((left, top, left + width, top + height)).resize((WIDTH, HEIGHT)))
    return made


def marked(image: Image.Image, opacity: int = 160) -> Image.Image:
    """With a half-transparent text at the lower right."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    font = ImageFont.load_default(20)
    ImageDraw.Draw(layer).text((WIDTH - 110, HEIGHT - 30), "© a photo", (255, 255, 255, opacity), font)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def checked(classes: dict[str, Sequence[Image.Image]]) -> CheckedImages:
    labels = [name for name, images in classes.items() for _ in images]
    grays = [
        np.asarray(each.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
        for images in classes.values()
        for each in images
    ]
    manifest = Manifest.from_rows([f"/photos/{number}.jpg" for number in range(len(labels))], labels=labels)
    return CheckedImages(manifest, thumbnails=GrayThumbnails(np.arange(len(labels)), np.stack(grays)))


def test_a_watermark_of_one_class_is_told_with_its_place() -> None:
    cats = [marked(each) if number % 5 else each for number, each in enumerate(crops(data.chelsea(), 40, 0))]
    (issue,) = find_watermarks(checked({"cat": cats, "cup": crops(data.coffee(), 40, 1)}))
    assert issue.kind == "watermark"
    assert "of the images of 'cat' have the same edges at the lower right, 0.0% of the others do" in issue.evidence
    assert issue.score == pytest.approx(0.8, abs=0.1)  # four of five have it
    assert len(issue.related) == 3


def test_without_one_or_where_all_classes_have_it_nothing_is_told() -> None:
    plain = {"cat": crops(data.chelsea(), 40, 0), "cup": crops(data.coffee(), 40, 1)}
    assert list(find_watermarks(checked(plain))) == []
    assert list(find_watermarks(checked({name: list(map(marked, each)) for name, each in plain.items()}))) == []


def test_a_watermark_on_a_fifth_of_a_class_is_none_of_the_class() -> None:
    cats = [each if number % 5 else marked(each) for number, each in enumerate(crops(data.chelsea(), 40, 0))]
    assert list(find_watermarks(checked({"cat": cats, "cup": crops(data.coffee(), 40, 1)}))) == []


def test_objects_at_the_same_place_are_no_watermark() -> None:
    digits = load_digits()
    by_class = {
        str(digit): [
            Image.fromarray((16 * np.minimum(each, 15)).astype(np.uint8))
            for each in digits.images[digits.target == digit][:40]
        ]
        for digit in range(3)
    }
    assert list(find_watermarks(checked(by_class))) == []


def test_few_images_are_no_evidence() -> None:
    cats = [marked(each) for each in crops(data.chelsea(), 8, 0)]
    assert list(find_watermarks(checked({"cat": cats, "cup": crops(data.coffee(), 40, 1)}))) == []


def test_a_check_finds_it_in_files(tmp_path: Path) -> None:
    for name, images in (("cat", map(marked, crops(data.chelsea(), 16, 0))), ("cup", crops(data.coffee(), 16, 1))):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            image.save(tmp_path / name / f"{number}.jpg")
    found = check(read(tmp_path), FitSettings.of(cache_dir=str(tmp_path / "store")), features=False)
    assert [issue.evidence[:30] for issue in found.issues if issue.kind == "watermark"] == [
        "100% of the images of 'cat' ha"
    ]


def test_thumbnails_of_a_sample_are_computed_once(tmp_path: Path) -> None:
    for name, photograph in (("cat", data.chelsea()), ("cup", data.coffee())):
        (tmp_path / name).mkdir()
        for number, image in enumerate(crops(photograph, 45, 2)):
            image.save(tmp_path / name / f"{number}.png")
    uris = sorted(map(str, tmp_path.rglob("*.png")))
    manifest = inspect_all(Manifest.from_rows(uris, labels=[Path(uri).parent.name for uri in uris]))
    rows, cache = sample_of_classes(manifest), tmp_path / "thumbnails.parquet"
    assert [np.sum(np.array(manifest.labels)[rows] == name) for name in ("cat", "cup")] == [40, 40]
    made = compute_thumbnails(manifest, rows, cache=cache)
    expected = [
        np.asarray(Image.open(uris[row]).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)) for row in rows
    ]
    assert np.array_equal(made.pixels, np.stack(expected))
    for uri in uris:
        Path(uri).unlink()  # nothing is read again
    again = compute_thumbnails(manifest, rows, cache=cache)
    assert np.array_equal(again.pixels, made.pixels)
    assert compute_thumbnails(manifest, rows).pixels.shape == (0, SIDE, SIDE)  # no cache, no files
    cache.write_bytes(b"damaged")
    assert len(compute_thumbnails(manifest, rows, cache=cache).rows) == 0
