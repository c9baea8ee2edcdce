"""A sheet of labeled images, and one image with its predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import inspect
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.workflow.predict import Predictions
from headstart.workflow.show import draw_sheet, plot


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths[:3]:
        Image.new("RGB", (20, 30), "red").save(path)
    paths[3].write_bytes(b"not an image")
    return Manifest.from_rows(paths, labels=["cat", "dog", None, "dog"])


def test_a_sheet_skips_images_that_cannot_be_read(manifest: Manifest, tmp_path: Path) -> None:
    sheets = [draw_sheet(manifest, tmp_path / f"sheet{count}.png", count=count) for count in (2, 9)]
    with Image.open(sheets[0]) as two, Image.open(sheets[1]) as three:
        assert two.width == three.width == 600  # two columns
        assert three.height == 2 * two.height
    assert draw_sheet(manifest, tmp_path / "one.png", count=1).exists()


def test_a_plot_is_no_photo(manifest: Manifest, tmp_path: Path) -> None:
    sheet = draw_sheet(manifest, tmp_path / "sheet.png", count=2)
    assert inspect(sheet).problem == "a plot that headstart wrote"


def test_a_sheet_without_a_readable_image_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refusal:
        draw_sheet(manifest.select([3]), tmp_path / "sheet.png", count=4)
    expected = "none of the images can be read; run `headstart check PHOTOS` for the reasons"
    assert str(refusal.value) == expected
    assert not (tmp_path / "sheet.png").exists()


def test_a_plot_is_of_one_readable_image(manifest: Manifest, tmp_path: Path) -> None:
    probabilities = np.array([[0.25, 0.75]], np.float32)
    path = plot(Predictions(("cat", "dog"), manifest.select([0]), probabilities), tmp_path / "plot.png", k=2)
    with Image.open(path) as image:
        assert image.format == "PNG"
    with pytest.raises(DataError, match=r"^--plot draws one image, got 2$"):
        plot(Predictions(("cat", "dog"), manifest.select([0, 1]), probabilities.repeat(2, 0)), path, k=2)
    bad = manifest.select([3]).with_column("problem", ["not an image"])
    with pytest.raises(DataError, match=r"^--plot: not an image$"):
        plot(Predictions(("cat", "dog"), bad, probabilities[:0]), path, k=2)
