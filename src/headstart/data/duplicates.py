"""Images with the same content: under two labels, or in two splits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.uri import display_name

__all__ = ["find_contradictions", "find_shared", "same_content"]


def same_content(manifest: Manifest) -> list[list[int]]:
    """The rows of images with the same content, ascending, where there are at least two.

    >>> same_content(Manifest.from_rows(["/a.jpg", "/b.jpg", "/c.jpg"]).with_column("hash", ["1", "2", "1"]))
    [[0, 2]]
    """
    rows: dict[str, list[int]] = {}
    for row, content in enumerate(manifest.hashes):
        if content is not None:
            rows.setdefault(content, []).append(row)
    return [each for each in rows.values() if len(each) > 1]


def find_contradictions(manifest: Manifest) -> list[tuple[int, str]]:
    """Return (row, reason) of the usable images whose content also has another label.

    >>> manifest = Manifest.from_rows(["/a.jpg", "/b.jpg"], labels=["cat", "dog"]).with_column("hash", ["1", "1"])
    >>> find_contradictions(manifest)
    [(0, "the same image, /b.jpg, has the label 'dog'"), (1, "the same image, /a.jpg, has the label 'cat'")]
    """
    rows = zip(manifest.uris, manifest.labels, manifest.hashes, manifest.problems, strict=True)
    same: dict[str, list[tuple[int, str, str]]] = {}
    for row, (uri, label, content, problem) in enumerate(rows):
        if content is not None and problem is None and label is not None:
            same.setdefault(content, []).append((row, uri, label))
    found = []
    for images in same.values():
        if len({label for _, _, label in images}) == 1:
            continue
        for row, _, label in images:
            uri, other = next((uri, other) for _, uri, other in images if other != label)
            found.append((row, f"the same image, {display_name(uri)}, has the label {other!r}"))
    return sorted(found)


def find_shared(manifest: Manifest, split: str, others: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the rows of the usable images of a split whose content is also in one of the ``others``.

    >>> manifest = Manifest.from_rows(["/a.jpg", "/b.jpg"], splits=["train", "test"]).with_column("hash", ["1", "1"])
    >>> find_shared(manifest, "test", ("train", "validation"))
    array([1])
    """
    rows = list(zip(manifest.splits, manifest.hashes, manifest.problems, strict=True))
    seen = {content for each, content, problem in rows if each in others and problem is None and content is not None}
    shared = [each == split and problem is None and content in seen for each, content, problem in rows]
    return np.flatnonzero(np.array(shared, dtype=bool))
