"""Images with the same content: under two labels, or in two splits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.data.groups import numbered
from headstart.data.manifest import Manifest
from headstart.data.uri import display_name

__all__ = ["find_contradictions", "find_shared", "same_content"]


def same_content(manifest: Manifest) -> list[list[int]]:
    """The rows of images with the same content, ascending, where there are at least two.

    >>> same_content(Manifest.from_rows(["/a.jpg", "/b.jpg", "/c.jpg"]).with_column("hash", ["1", "2", "1"]))
    [[0, 2]]
    """
    return _rows_of_sets(numbered(manifest.table["hash"]))


def _rows_of_sets(numbers: NDArray[np.int64]) -> list[list[int]]:
    """The rows with the same number, where there are at least two; -1 is no number."""
    counted = np.bincount(numbers[numbers >= 0])
    rows = np.flatnonzero((numbers >= 0) & (counted[numbers] > 1)) if len(counted) else np.empty(0, np.int64)
    found: dict[int, list[int]] = {}
    for row in rows.tolist():
        found.setdefault(int(numbers[row]), []).append(row)
    return list(found.values())


def find_contradictions(manifest: Manifest) -> list[tuple[int, str]]:
    """Return (row, reason) of the usable images whose content also has another label.

    >>> manifest = Manifest.from_rows(["/a.jpg", "/b.jpg"], labels=["cat", "dog"]).with_column("hash", ["1", "1"])
    >>> find_contradictions(manifest)
    [(0, "the same image, /b.jpg, has the label 'dog'"), (1, "the same image, /a.jpg, has the label 'cat'")]
    """
    table = manifest.table
    usable = pc.and_(pc.is_valid(table["label"]), pc.is_null(table["problem"])).to_numpy()
    contents = np.where(usable, numbered(table["hash"]), -1)
    found = []
    for rows in _rows_of_sets(contents):
        images = [(row, str(table["uri"][row]), str(table["label"][row])) for row in rows]
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
    table = manifest.table
    usable = pc.and_(pc.is_valid(table["hash"]), pc.is_null(table["problem"]))
    elsewhere = pc.and_kleene(usable, pc.is_in(table["split"], value_set=pa.array(others)))
    seen = table["hash"].filter(elsewhere)
    own = pc.and_kleene(usable, pc.equal(table["split"], split))
    shared = pc.and_kleene(own, pc.is_in(table["hash"], value_set=seen))
    return np.flatnonzero(shared.fill_null(False).to_numpy())
