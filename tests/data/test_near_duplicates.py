from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data

from headstart.data import near_duplicates
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.near_duplicates import (
    MAX_IMAGES,
    NearDuplicates,
    NearPair,
    Thresholds,
    find_near_duplicates,
    nearest_pairs,
)

LIMIT = {"max_pixels": 10**7}
THRESHOLDS = Thresholds(0.9, 0.9)


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(data, name)()).convert("RGB").resize((160, 120))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three photographs, a copy of each, and a fourth one without."""
    cat, rocket, coffee = (photo(name) for name in ("chelsea", "rocket", "coffee"))
    made = {
        "cat.png": cat,
        "cup.png": coffee,
        "half.png": cat.resize((80, 60)),
        "rocket.png": rocket,
        "rocket.bmp": rocket,
        "mirrored.png": ImageOps.mirror(coffee),
        "coins.png": photo("coins"),
    }
    for name, image in made.items():
        image.save(tmp_path / name)
    return [tmp_path / name for name in made]


def find(paths: list[Path], vectors: np.ndarray | None = None, thresholds: Thresholds = THRESHOLDS) -> NearDuplicates:
    manifest = inspect_all(Manifest.from_rows(paths))
    return find_near_duplicates(
        manifest, np.ones((len(paths), 4), np.float32) if vectors is None else vectors, thresholds, **LIMIT
    )


def test_pixels_decide_where_features_tell_nothing(images: list[Path]) -> None:
    found = find(images)
    assert found.candidates == 21
    assert sorted(pair.rows for pair in found.pairs) == [(0, 2), (1, 5), (3, 4)]
    assert {pair.rows for pair in found.pairs if pair.mirrored} == {(1, 5)}
    assert {pair.rows for pair in found.pairs if pair.identical} == {(3, 4)}
    assert found.groups() == [(0, 2), (1, 5), (3, 4)]
    assert found.numbers().tolist() == [0, 1, 0, 3, 3, 1, 6]


def test_a_split_needs_no_look_at_every_pixel(images: list[Path]) -> None:
    manifest, vectors = inspect_all(Manifest.from_rows(images)), np.ones((7, 4), np.float32)
    found = find_near_duplicates(manifest, vectors, THRESHOLDS, every_pixel=False, **LIMIT)
    assert found.groups() == find(images).groups()
    assert not any(pair.identical for pair in found.pairs)


def test_images_with_different_features_are_not_compared(images: list[Path]) -> None:
    vectors = np.eye(7, dtype=np.float32)
    vectors[2] = vectors[0] * 3  # the length does not matter
    found = find(images, vectors)
    assert (found.candidates, [pair.rows for pair in found.pairs]) == (1, [(0, 2)])


def test_the_same_content_is_compared_once(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "again.png").write_bytes(images[0].read_bytes())
    found = find([*images, tmp_path / "again.png"])
    assert [pair.rows for pair in found.pairs if 0 in pair.rows] == [(0, 2)]
    assert found.candidates == 21


def test_an_image_that_has_vanished_is_in_no_pair(images: list[Path]) -> None:
    manifest = inspect_all(Manifest.from_rows(images))
    images[2].unlink()
    found = find_near_duplicates(manifest, np.ones((7, 4), np.float32), THRESHOLDS, **LIMIT)
    assert sorted(pair.rows for pair in found.pairs) == [(1, 5), (3, 4)]


def test_each_image_is_read_once(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read, thumbnail = [], near_duplicates.gray_thumbnail

    def counted(source: Any, **limits: Any) -> np.ndarray:
        read.append(source)
        return thumbnail(source, **limits)

    monkeypatch.setattr(near_duplicates, "gray_thumbnail", counted)
    monkeypatch.setattr(near_duplicates, "_PREPARED", 2)
    monkeypatch.setattr(near_duplicates, "_AHEAD", 1)
    found = find(images)
    assert (found.candidates, len(read)) == (21, 7)
    assert found.groups() == [(0, 2), (1, 5), (3, 4)]


def test_frames_may_differ_more_than_copies(tmp_path: Path) -> None:
    """Between two frames a part of the scene has moved."""
    scene, paths = photo("coffee"), []
    for number, left in ((7, 10), (8, 60)):
        frame = scene.copy()
        frame.paste(photo("coins").resize((32, 24)), (left, 10))
        paths.append(tmp_path / f"frame_{number:03d}.png")
        frame.save(paths[-1])
    strict = Thresholds(0.9, 0.97)
    (pair,) = find(paths, thresholds=strict).pairs
    assert pair.burst
    assert 0.6 < pair.agreement < 0.97
    other = paths[1].rename(tmp_path / "frame_100.png")
    assert find([paths[0], other], thresholds=strict).pairs == ()


def test_the_nearest_pairs_are_those_of_all_cosines() -> None:
    """More rows than a block, with far more pairs than the limit."""
    vectors = np.random.default_rng(0).normal(size=(2100, 6)).astype(np.float32)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.triu(directions @ directions.T, 1)
    for limit, lowest in ((10**6, 0.95), (500, 0.5)):
        pairs, found, complete = nearest_pairs(vectors, lowest, limit=limit)
        assert complete == (limit == 10**6)
        assert (pairs[:, 0] < pairs[:, 1]).all()
        wanted = np.sort(cosines[cosines >= lowest])[::-1][:limit]
        assert np.allclose(np.sort(found)[::-1], wanted, atol=1e-5)
        assert np.allclose(cosines[tuple(pairs.T)], found, atol=1e-5)


def pairs_of(rows: list[tuple[int, int]]) -> tuple[NearPair, ...]:
    return tuple(NearPair(pair, 0.95, 0.95) for pair in rows)


def test_a_chain_does_not_join_a_whole_class() -> None:
    groups = NearDuplicates(200, pairs_of(list(pairwise(range(200)))), THRESHOLDS).groups()
    assert max(map(len, groups)) <= 30
    assert sum(map(len, groups)) == 200


def test_a_large_group_is_one_if_its_images_are_alike() -> None:
    everyone = [(one, other) for one in range(50) for other in range(one + 1, 50)]
    assert NearDuplicates(60, pairs_of(everyone), THRESHOLDS).groups() == [tuple(range(50))]


def test_more_images_than_can_be_compared_are_not() -> None:
    manifest = Manifest.from_rows([f"/{number}.jpg" for number in range(MAX_IMAGES + 1)])
    found = find_near_duplicates(manifest, np.ones((MAX_IMAGES + 1, 1), np.float32), THRESHOLDS, **LIMIT)
    assert (found.pairs, found.complete) == ((), False)


def test_vectors_must_be_those_of_the_images(images: list[Path]) -> None:
    with pytest.raises(ValueError, match="a row for each of the 7 images, got 3"):
        find(images, np.ones((3, 4), np.float32))
