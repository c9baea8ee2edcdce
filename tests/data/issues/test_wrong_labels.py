from __future__ import annotations

import numpy as np

from headstart.data.issues import CheckedImages, OutOfFold
from headstart.data.issues.wrong_labels import find_wrong_labels, likely_wrong
from headstart.data.manifest import Manifest


def out_of_fold(seed: int = 0, *, images: int = 600, classes: int = 6, wrong: int = 30) -> tuple[OutOfFold, set[int]]:
    """Probabilities that are right about nine in ten images, and labels of which some were put to another class."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=images)
    logits = rng.normal(size=(images, classes)) + 5 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets, rows = true.copy(), rng.permutation(images)[:wrong]
    targets[rows] = (true[rows] + rng.integers(1, classes, size=wrong)) % classes
    names = tuple(f"class {number}" for number in range(classes))
    return OutOfFold(np.arange(images), names, targets, probabilities.astype(np.float32)), set(rows.tolist())


def test_labels_that_were_changed_come_first() -> None:
    found, wrong = out_of_fold()
    rows, likelier = likely_wrong(found)
    first = rows[: len(wrong)].tolist()
    assert len(wrong.intersection(first)) >= 0.8 * len(wrong)
    assert len(rows) < 0.1 * len(found.targets)
    assert (likelier != found.targets[rows]).all()


def test_images_that_are_hard_to_tell_are_not_listed() -> None:
    probabilities = np.array([[0.2, 0.8], [0.1, 0.9], [0.05, 0.95]], np.float32)
    rows, _ = likely_wrong(OutOfFold(np.arange(3), ("a", "b"), np.zeros(3, np.int64), probabilities))
    assert rows.tolist() == [2]


def test_an_issue_has_the_likelier_label_and_the_nearest_images() -> None:
    """Only rows with a label have probabilities; vectors are of all usable images."""
    uris = [f"/{number}.jpg" for number in range(6)]
    manifest = Manifest.from_rows(uris, labels=[None, "cat", "cat", "dog", "dog", "cat"])
    manifest = manifest.with_column("problem", ["empty file", *[None] * 5])
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0.2, 1]], np.float32)
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.01, 0.99]], np.float32)
    known = OutOfFold(np.arange(5), ("cat", "dog"), np.array([0, 0, 1, 1, 0]), probabilities)
    (issue,) = find_wrong_labels(CheckedImages(manifest, vectors=vectors, out_of_fold=known))
    assert (issue.uri, issue.label, issue.suggestion) == ("/5.jpg", "dog", "relabel")
    assert issue.related[:2] == ("/4.jpg", "/3.jpg")
    assert issue.evidence == (
        "by cross-validation 'dog' has a probability of 99.0%, the label 'cat' one of 1.0%; "
        "2 of the 4 nearest images are 'dog'"
    )
    assert abs(issue.score - 0.99) < 1e-6


def test_nothing_is_found_without_probabilities() -> None:
    assert not list(find_wrong_labels(CheckedImages(Manifest.from_rows(["/a.jpg"]))))
