from __future__ import annotations

import numpy as np
import pytest

from headstart.data.groups import divided_groups, group_by_pattern, group_numbers, grouped
from headstart.data.manifest import Manifest
from headstart.errors import DataError, SettingsError

NAMES = ["/photos/cat/p1_a.jpg", "/photos/cat/p1_b.jpg", "/photos/dog/p2_a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        ("p[0-9]+", ["p1", "p1", "p2"]),
        ("(p[0-9]+)_", ["p1", "p1", "p2"]),
        ("([a-z]+)/(p[0-9])", ["cat/p1", "cat/p1", "dog/p2"]),
        ("^(cat|dog)/", ["cat", "cat", "dog"]),  # the path begins below the root
        ("(?:(p1)|(p2))", ["p1", "p1", "p2"]),
    ],
)
def test_groups_of_paths(pattern: str, groups: list[str]) -> None:
    assert group_by_pattern(Manifest.from_rows(NAMES), pattern, root="/photos").groups == groups


def test_a_pattern_that_does_not_match_every_image_is_refused() -> None:
    with pytest.raises(DataError, match=r"'p1' is not found in 1 of 3 paths, as in 'dog/p2_a.jpg': change it"):
        group_by_pattern(Manifest.from_rows(NAMES), "p1", root="/photos")
    with pytest.raises(DataError, match=r"captures no text in 'cat/p1_a.jpg'"):
        group_by_pattern(Manifest.from_rows(NAMES), "(x*)p", root="/photos")
    with pytest.raises(SettingsError, match="group_pattern must be a regular expression, got 'p\\['"):
        group_by_pattern(Manifest.from_rows(NAMES), "p[")


def test_groups_and_copies_form_chains() -> None:
    manifest = Manifest.from_rows([f"/{n}.jpg" for n in "abcdef"], groups=["g", None, "g", "h", "h", None])
    numbers = group_numbers(manifest.with_column("hash", ["1", "1", "2", "2", "3", "4"]))
    assert numbers.tolist() == [0, 0, 0, 0, 0, 1]


def test_images_without_hash_or_group_stand_alone() -> None:
    manifest = Manifest.from_rows(["/a.jpg", "/b.jpg"])
    assert group_numbers(manifest).tolist() == [0, 1]
    assert grouped(manifest) is None
    assert np.array_equal(grouped(manifest.with_column("group", ["x", None])), [0, 1])  # type: ignore[arg-type]


def test_divided_groups_do_not_count_what_cannot_be_used() -> None:
    splits = ["test", "train", "validation", None]
    manifest = Manifest.from_rows([f"/{n}.jpg" for n in "abcd"], groups=["g"] * 4, splits=splits)
    assert divided_groups(manifest) == [("g", ("train", "validation", "test"))]
    assert divided_groups(manifest.with_column("problem", ["damaged", None, "damaged", None])) == []


def test_images_that_are_alike_join_the_groups_of_both() -> None:
    manifest = Manifest.from_rows([f"/{name}.jpg" for name in "abcde"], groups=["p", None, None, "q", None])
    manifest = manifest.with_column("hash", ["1", "2", "2", "3", "4"])
    assert group_numbers(manifest).tolist() == [0, 1, 1, 2, 3]
    assert group_numbers(manifest, np.array([0, 0, 2, 3, 4])).tolist() == [0, 0, 0, 1, 2]
    assert group_numbers(manifest, np.array([0, 1, 2, 3, 4])).tolist() == [0, 1, 1, 2, 3]
