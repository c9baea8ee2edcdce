"""Where the network looked, in the images that the report shows: from the fit to the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import headstart as hs
from headstart.artifacts.run_folder import read_run
from headstart.data.transforms import evaluation_view
from headstart.inference.saliency import SaliencyMapper, highlight
from headstart.report.collect import example_rows
from headstart.workflow.evaluate import evaluate, save_evaluation
from headstart.workflow.report import report
from headstart.workflow.saliency import explain_examples


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of two photographs, half of them with the other's label, so that there are errors."""
    folder, rng = tmp_path_factory.mktemp("saliency") / "photos", np.random.default_rng(0)
    for name in ("cat", "cup"):
        (folder / name).mkdir(parents=True)
        for number in range(16):
            whole = Image.fromarray(data.chelsea() if (name == "cat") != (number % 4 == 3) else data.coffee())
            left, top = (int(rng.integers(0, size - 200)) for size in whole.size)
            whole.crop((left, top, left + 200, top + 200)).save(folder / name / f"{number:02d}.jpg")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    cache = tmp_path_factory.mktemp("store")
    model = hs.ImageClassifier("test_efficientnet", weights="random", train="head", cache_dir=str(cache))
    return model.fit(hs.read_images(str(photos))).save(photos.parent / "run")


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(float)


def test_a_run_keeps_what_the_network_saw_of_each_example(run: Path) -> None:
    read, classifier = read_run(run), hs.load(run)
    rows = example_rows(read.predictions)
    assert [each.uri for each in read.saliency] == [read.predictions.uris[row] for row in rows]
    assert [each.label for each in read.saliency] == [
        read.predictions.classes[read.predictions.predicted[row]] for row in rows
    ]
    first = read.saliency[0]
    view = evaluation_view(Image.open(first.uri), classifier.spec)
    found = SaliencyMapper(classifier.network, classifier.spec).explain(view, classifier.classes.index(first.label))
    assert found is not None
    assert found.method == first.method == "class activation map"
    expected = highlight(view, found.contributions)
    expected.thumbnail((160, 160))
    assert np.abs(decoded(first.image) - np.asarray(expected)).mean() < 6  # JPEG


def test_the_page_shows_them(run: Path) -> None:
    page = report(run).read_text(encoding="utf-8")
    assert "where the network looked" in page
    for each in read_run(run).saliency:
        assert f'<img src="{each.image}" alt="the same, bright where it speaks for {each.label}">' in page


def test_an_evaluation_has_them_too(run: Path, photos: Path, tmp_path: Path) -> None:
    classifier = hs.load(run)
    predictions, evaluation = evaluate(classifier, hs.read_images(str(photos)))
    (photos / "cat" / "00.jpg").rename(tmp_path / "00.jpg")  # vanished since
    folder = save_evaluation(predictions, evaluation, tmp_path / "evaluated", settings={}, classifier=classifier)
    (tmp_path / "00.jpg").rename(photos / "cat" / "00.jpg")
    read = read_run(folder)
    expected = {read.predictions.uris[row] for row in example_rows(read.predictions)}
    assert {each.uri for each in read.saliency} == expected - {str(photos / "cat" / "00.jpg")}
    save_evaluation(predictions, evaluation, folder, settings={})  # without a network, those of before are replaced
    assert read_run(folder).saliency == ()
    assert "Where the network looked is not shown" in report(folder).read_text(encoding="utf-8")


def test_images_that_cannot_be_read_have_none(run: Path, photos: Path, tmp_path: Path) -> None:
    images = hs.read_images(str(photos)).select([0, 1]).with_column("uri", [str(tmp_path / "gone.jpg")] * 2)
    assert explain_examples(hs.load(run), images, np.full((2, 2), 0.5, np.float32)) == ()
