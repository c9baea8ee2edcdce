"""The nearest training images of runs, from the store that their fits filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import headstart as hs
from headstart.data.manifest import Manifest
from headstart.data.transforms import evaluation_view
from headstart.errors import DataError, RunError
from headstart.workflow.neighbors import open_training_images
from headstart.workflow.similar import find_similar

PHOTOGRAPHS = {"cat": data.chelsea(), "cup": data.coffee()}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("near") / "photos", np.random.default_rng(0)
    for name, pixels in PHOTOGRAPHS.items():
        (folder / name).mkdir(parents=True)
        for number in range(16):
            top, left = (int(rng.integers(0, size - 150)) for size in pixels.shape[:2])
            Image.fromarray(pixels[top : top + 150, left : left + 150]).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("options", [{"train": "head", "stages": "none"}, {"train": "head", "stages": "late:0.5"}])
def test_the_nearest_image_is_the_image_itself(
    photos: Path, tmp_path: Path, store: Path, options: dict[str, str]
) -> None:
    manifest = hs.read_images(str(photos))
    model = hs.ImageClassifier(cache_dir=str(store), **options).fit(manifest)
    run = model.save(tmp_path / "run")
    classifier = hs.load(run)
    found = open_training_images(Path(run), classifier)
    assert len(found.uris) == Manifest.read(Path(run) / "manifest.parquet").splits.count("train")
    uri, label = found.uris[3], found.labels[3]
    view = evaluation_view(Image.open(uri).convert("RGB"), classifier.spec)
    near = found.nearest(view, 4)
    assert (near[0].uri, near[0].label) == (uri, label)
    assert near[0].cosine == pytest.approx(1, abs=0.01)
    assert {each.label for each in near} == {label}
    assert [each.cosine for each in near] == sorted((each.cosine for each in near), reverse=True)
    similar = find_similar(Path(run), classifier, uri, count=4)
    assert similar.near == tuple(near)
    assert similar.searched == similar.trained == len(found.uris)
    assert similar.lines()[1] == f"{near[0].cosine:6.3f}  {label}  {uri}"
    with Image.open(similar.draw(tmp_path / "sheet.png", classifier)) as drawn:
        assert drawn.width > drawn.height / 2
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        find_similar(Path(run), classifier, tmp_path / "broken.jpg", count=4)


def test_deeper_training(photos: Path, tmp_path: Path, store: Path) -> None:
    model = hs.ImageClassifier(cache_dir=str(store), train="last:1", epochs=1, augmentations=0, stages="none")
    run = model.fit(hs.read_images(str(photos))).save(tmp_path / "run")
    classifier = hs.load(run)
    found = open_training_images(Path(run), classifier)
    assert not found.embedder.stores_vectors
    view = evaluation_view(Image.open(found.uris[0]).convert("RGB"), classifier.spec)
    assert found.nearest(view, 1)[0].uri == found.uris[0]


def test_nothing_is_stored(photos: Path, tmp_path: Path) -> None:
    model = hs.ImageClassifier(cache_dir=str(tmp_path / "store"), train="head").fit(hs.read_images(str(photos)))
    run = Path(model.save(tmp_path / "run"))
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"are not in .*store.*: name the cache"):
        open_training_images(run, hs.load(run))
    with pytest.raises(RunError, match=r"classifier/settings\.json"):
        open_training_images(run / "classifier", hs.load(run))
    assert not (tmp_path / "store").exists()
