"""New images beside those of a run: more of the same, and others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

import headstart as hs
from headstart.cli.main import cli
from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.errors import DataError, RunError, SettingsError
from headstart.workflow.check import check
from headstart.workflow.drift import Drift, measure_drift
from headstart.workflow.predict import predict
from headstart.workflow.reading import inspect_images, read

PHOTOGRAPHS = {"cat": data.chelsea(), "cup": data.coffee()}


def crops(
    folder: Path, count: int, seed: int, change: Callable[[Image.Image], Image.Image] = lambda each: each
) -> Path:
    """So many crops of each photograph, in class folders."""
    rng = np.random.default_rng(seed)
    for name, pixels in PHOTOGRAPHS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            top, left = (int(rng.integers(0, size - 120)) for size in pixels.shape[:2])
            image = change(Image.fromarray(pixels[top : top + 120, left : left + 120]))
            image.save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose validation split has 60 images."""
    folder = tmp_path_factory.mktemp("drift")
    model = hs.ImageClassifier(cache_dir=str(folder / "store"), train="head", stages="none", validation_share=0.5)
    return Path(model.fit(hs.read_images(str(crops(folder / "photos", 60, 0)))).save(folder / "run"))


def settings_of(run: Path) -> FitSettings:
    return FitSettings.of(cache_dir=str(run.parent / "store"))


def manifest_of(folder: Path, run: Path) -> Manifest:
    return inspect_images(read(folder), settings_of(run), events=hs.Events())


def measured(run: Path, manifest: Manifest) -> Drift:
    classifier = hs.load(run)
    return measure_drift(run, classifier, predict(classifier, manifest))


def test_more_of_the_same_is_no_drift(run: Path, tmp_path: Path) -> None:
    found = measured(run, manifest_of(crops(tmp_path / "new", 25, 1), run))
    assert not found.found
    assert found.lines()[0].startswith(
        "drift: these images do not differ detectably from the held-out images of run (p = "
    )
    assert found.lines()[1].endswith("(0.0%) look like none of the classes; 5% would be usual") or found.foreign


def test_blurred_and_gray_images_drift(run: Path, tmp_path: Path) -> None:
    def worse(image: Image.Image) -> Image.Image:
        return image.convert("L").filter(ImageFilter.GaussianBlur(3)).convert("RGB")

    found = measured(run, manifest_of(crops(tmp_path / "new", 25, 1, worse), run))
    assert found.found
    assert found.issues()[0].uri is None
    assert len(found.foreign) > 5
    scores = [issue.score for issue in found.issues()[1:]]
    assert scores == sorted(scores, reverse=True)


def test_a_check_against_a_run_lists_what_is_foreign(run: Path, tmp_path: Path) -> None:
    new = crops(tmp_path / "new", 6, 1)
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (120, 120, 3), np.uint8)).save(new / "cup" / f"noise{number}.png")
    found = check(read(new), settings_of(run), features=False, against=run)
    foreign = [Path(str(issue.uri)).name for issue in found.issues if issue.kind == "foreign"]
    assert {"noise0.png", "noise1.png", "noise2.png", "noise3.png"} == set(foreign[:4])
    assert any(line.startswith("drift: ") for line in found.lines())


def test_the_line_of_predict(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = crops(tmp_path / "new", 6, 1)
    words = ["predict", str(run), str(images), "--csv", str(tmp_path / "out.csv"), "--drift"]
    cli(words, standalone_mode=False)
    assert "drift: these images do not differ" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"--drift must be used with a run folder, .* got test_resnet"):
        cli(["predict", "test_resnet", str(images), "--drift"], standalone_mode=False)


def test_what_cannot_be_compared(run: Path, tmp_path: Path) -> None:
    few = manifest_of(crops(tmp_path / "few", 4, 1), run)
    with pytest.raises(DataError, match="10 images or more, got 8"):
        measured(run, few)
    with pytest.raises(RunError, match="no such manifest"):
        measured(run / "classifier", manifest_of(crops(tmp_path / "new", 6, 1), run))
