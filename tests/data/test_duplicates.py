from __future__ import annotations

from headstart.data.duplicates import find_contradictions, find_shared
from headstart.data.manifest import Manifest


def _manifest(*rows: tuple[str, str | None, str | None, str | None]) -> Manifest:
    """(hash, label, split, problem) of each row."""
    made = Manifest.from_rows(
        [f"/{number}.jpg" for number in range(len(rows))],
        labels=[label for _, label, _, _ in rows],
        splits=[split for _, _, split, _ in rows],
    )
    return made.with_column("hash", [each for each, *_ in rows]).with_column("problem", [row[3] for row in rows])


def test_only_usable_images_with_two_labels_contradict() -> None:
    manifest = _manifest(
        ("1", "cat", None, None),
        ("1", "cat", None, None),
        ("2", "cat", None, None),
        ("2", "dog", None, None),
        ("2", "cat", None, None),
        ("3", "cat", None, None),
        ("3", "dog", None, "damaged"),
        ("4", "cat", None, None),
        ("4", None, None, None),
    )
    assert find_contradictions(manifest) == [
        (2, "the same image, /3.jpg, has the label 'dog'"),
        (3, "the same image, /2.jpg, has the label 'cat'"),
        (4, "the same image, /3.jpg, has the label 'dog'"),
    ]


def test_images_of_a_split_that_others_have() -> None:
    manifest = _manifest(
        ("1", "cat", "train", None),
        ("1", "dog", "test", None),
        ("2", "cat", "validation", None),
        ("2", "cat", "test", None),
        ("3", "cat", "test", None),
        ("4", "cat", "train", "damaged"),
        ("4", "cat", "test", None),
    )
    assert find_shared(manifest, "test", ("train", "validation")).tolist() == [1, 3]
    assert find_shared(manifest, "test", ("train",)).tolist() == [1]
    assert find_shared(manifest, "validation", ("train",)).tolist() == []
