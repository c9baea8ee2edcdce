from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from skimage import data

from headstart.config import FitSettings
from headstart.data.sources.read import read_images
from headstart.workflow.fit import fit


def crops(folder: Path, name: str, count: int = 8, *, mirrored: bool = False) -> None:
    folder.mkdir(parents=True)
    image = Image.fromarray(getattr(data, name)())
    image = ImageOps.mirror(image) if mirrored else image
    for number in range(count):
        left, top = 6 * number, 3 * number
        image.crop((left, top, left + 260, top + 260)).save(folder / f"{number}.png")


def test_what_the_pretrained_head_scores_stands_beside_the_result(tmp_path: Path, told: Any) -> None:
    crops(tmp_path / "photos" / "espresso", "coffee")
    crops(tmp_path / "photos" / "Egyptian cat", "chelsea")
    crops(tmp_path / "photos" / "tabby", "coffee", 2, mirrored=True)  # by the pretrained head, espressos
    crops(tmp_path / "photos" / "person in orange", "astronaut")
    settings = FitSettings(
        train="head", stages="none", kernel="none", l2=0.01, near_duplicates="ignore", cache_dir=str(tmp_path / "store")
    )
    events = told()
    found = fit(read_images(tmp_path / "photos"), settings, events=events).evaluation
    assert found.pretrained is not None
    assert (found.pretrained.classes, found.pretrained.images) == (3, 18)
    assert found.pretrained.top1.value == 16 / 18
    assert found.pretrained.note() in found.notes
    assert any(found.pretrained.note() in line for line in events.lines)


def test_without_classes_that_match_there_is_no_such_score(tmp_path: Path, fitted: Any, photos: Any) -> None:
    assert fitted(photos(red=6, green=6), train="head").evaluation.pretrained is None
