"""Duplicates, near-duplicates, bursts, leaks, and near-duplicates under two labels."""

from __future__ import annotations

import tracemalloc
from typing import Any

from headstart.data.issues import CheckedImages, Issue, find_issues
from headstart.data.issues.leaks import find_leaks
from headstart.data.manifest import Manifest
from headstart.data.near_duplicates import NearDuplicates, NearPair, Thresholds


def issues(rows: list[dict[str, Any]], *pairs: NearPair) -> dict[str, list[Issue]]:
    """The issues by kind of images a.jpg, b.jpg and so on, of which each has its own content by default."""
    names = [f"/{'abcdefgh'[number]}.jpg" for number in range(len(rows))]
    manifest = Manifest.from_rows(
        names, labels=[row.get("label") for row in rows], splits=[row.get("split") for row in rows]
    )
    manifest = manifest.with_column("hash", [row.get("hash", name) for row, name in zip(rows, names, strict=True)])
    manifest = manifest.with_column("problem", [row.get("problem") for row in rows])
    for side in ("width", "height"):
        manifest = manifest.with_column(side, [row.get("side", 100) for row in rows])
    near = NearDuplicates(len(manifest.usable), pairs, Thresholds(0.8, 0.9))
    found: dict[str, list[Issue]] = {}
    for issue in find_issues(CheckedImages(manifest, near_duplicates=near)):
        found.setdefault(issue.kind, []).append(issue)
    return found


def test_each_superfluous_file_is_told_with_the_one_that_is_kept() -> None:
    found = issues([{"hash": "1"}, {"hash": "2"}, {"hash": "1"}, {"hash": "1"}])
    assert list(found) == ["duplicate"]
    assert [(each.uri, each.related, each.suggestion) for each in found["duplicate"]] == [
        ("/c.jpg", ("/a.jpg",), "drop"),
        ("/d.jpg", ("/a.jpg",), "drop"),
    ]
    assert found["duplicate"][0].evidence == "the same file as /a.jpg"


def test_the_same_pixels_in_another_file_are_a_duplicate() -> None:
    found = issues([{}, {}, {}], NearPair((0, 2), 1.0, 1.0, identical=True))
    (issue,) = found.pop("duplicate")
    assert (issue.uri, issue.score, issue.related) == ("/c.jpg", 1.0, ("/a.jpg",))
    assert not found


def test_of_near_duplicates_the_largest_is_kept() -> None:
    found = issues([{"side": 50}, {"side": 200}, {}], NearPair((0, 1), 0.97, 0.99), NearPair((1, 2), 0.9, 0.93))
    first, second = found["near-duplicate"]
    assert (first.uri, first.related, first.suggestion) == ("/a.jpg", ("/b.jpg", "/c.jpg"), "group")
    assert (second.uri, second.related, second.score) == ("/c.jpg", ("/b.jpg", "/a.jpg"), 0.93)
    assert second.evidence == (
        "a near-duplicate (cosine of features 0.900, correlation of pixels 0.930) of /b.jpg, in a group of 3"
    )


def test_frames_of_a_burst_are_told_as_such() -> None:
    found = issues([{}, {}, {}], NearPair((0, 2), 0.9, 0.99), NearPair((0, 1), 0.9, 0.7, burst=True))
    assert [each.uri for each in found["burst"]] == ["/b.jpg"]
    assert [each.uri for each in found["near-duplicate"]] == ["/c.jpg"]


def test_near_duplicates_under_two_labels_are_told_first_on_both_sides() -> None:
    rows = [{"label": "cat"}, {"label": "dog"}, {"label": "cat"}, {}]
    found = issues(rows, NearPair((0, 1), 0.97, 0.99), NearPair((0, 2), 0.96, 0.98), NearPair((2, 3), 0.95, 0.95))
    assert next(iter(found)) == "conflicting-labels"
    assert [(each.uri, each.related, each.suggestion) for each in found["conflicting-labels"]] == [
        ("/a.jpg", ("/b.jpg",), "look"),
        ("/b.jpg", ("/a.jpg",), "look"),
    ]
    assert found["conflicting-labels"][1].evidence.endswith("of /a.jpg, which has the label 'cat'")


def test_a_leak_is_told_of_the_split_that_must_be_independent() -> None:
    rows = [
        {"hash": "1", "split": "test"},
        {"hash": "1", "split": "train"},
        {"split": "validation"},
        {"split": "train"},
        {"hash": "1", "split": "test"},
        {"split": "test"},
        {"split": "test"},
        {"split": "train", "problem": "damaged"},
    ]
    # c is near to d, and to f; f and g are both in test. The rows are those of usable images.
    pairs = [NearPair((2, 3), 0.9, 0.95), NearPair((2, 5), 0.9, 0.94), NearPair((5, 6), 0.9, 0.93)]
    found = issues(rows, *pairs)["leak"]
    assert [(each.uri, each.related[0], each.score) for each in found] == [
        ("/a.jpg", "/b.jpg", 1.0),
        ("/e.jpg", "/b.jpg", 1.0),
        ("/c.jpg", "/d.jpg", 0.95),
        ("/f.jpg", "/c.jpg", 0.94),
    ]
    assert {each.suggestion for each in found} == {"drop"}
    assert found[0].evidence == "in test, and the same file as /b.jpg, which is in train"


def test_all_images_of_one_content_leak_where_one_of_them_is_near_to_another_split() -> None:
    rows = [{"hash": "1", "split": "train"}, {"hash": "1", "split": "test"}, {"split": "test"}]
    found = issues(rows, NearPair((0, 2), 0.9, 0.95))["leak"]
    assert [(each.uri, each.related[0]) for each in found] == [("/b.jpg", "/a.jpg"), ("/c.jpg", "/a.jpg")]


def test_without_features_duplicates_and_leaks_of_the_same_content_are_still_found() -> None:
    manifest = Manifest.from_rows(["/a.jpg", "/b.jpg"], splits=["train", "test"]).with_column("hash", ["1", "1"])
    assert [issue.kind for issue in find_issues(CheckedImages(manifest))] == ["leak", "duplicate"]


def test_a_thousand_copies_are_told_without_looking_at_a_million_pairs() -> None:
    count = 1_500
    splits = ["train" if row % 2 else "test" for row in range(count)]
    manifest = Manifest.from_rows([f"/{row}.jpg" for row in range(count)], splits=splits)
    manifest = manifest.with_column("hash", ["1"] * count)
    tracemalloc.start()
    found = list(find_leaks(CheckedImages(manifest)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == count // 2
    assert {issue.related for issue in found} == {("/1.jpg",)}
    assert peak < 1000 * count  # bytes; by pairs, more than 100 times as many
