"""Images that belong together, as those of one patient, camera or video: no split and no fold divides them."""

from __future__ import annotations

import re
from pathlib import PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.config.values import mistake_in_pattern
from headstart.data.manifest import SPLITS, Manifest
from headstart.data.uri import display_name
from headstart.errors import DataError, SettingsError

__all__ = ["divided_groups", "group_by_pattern", "group_numbers", "grouped", "numbered"]

_SHOWN = 3


def group_by_pattern(manifest: Manifest, pattern: str, *, root: str = "") -> Manifest:
    """Give each image the group that its path says.

    The group is what the parentheses of the pattern capture, or all that it matches if it has none.

    :param pattern: a regular expression, which is searched in the path below ``root``, with ``/`` between folders.
    :raises SettingsError: the pattern is no regular expression.
    :raises DataError: it is not found in the path of an image.

    >>> manifest = Manifest.from_rows(["/photos/p1_a.jpg", "/photos/p1_b.jpg", "/photos/p2_a.jpg"])
    >>> group_by_pattern(manifest, "(p[0-9]+)_", root="/photos").groups
    ['p1', 'p1', 'p2']
    """
    if mistake := mistake_in_pattern(pattern):
        raise SettingsError(mistake)
    expression = re.compile(pattern)
    names = [_below(uri, root) for uri in manifest.uris]
    found = [expression.search(name) for name in names]
    missing = [name for name, match in zip(names, found, strict=True) if match is None]
    if missing:
        raise DataError(
            f"--group-pattern {pattern!r} is not found in {len(missing):,} of {len(names):,} paths, as in "
            f"{', '.join(map(repr, missing[:_SHOWN]))}: change it so that it matches every image"
        )
    groups = [
        "/".join(part for part in match.groups() if part is not None) if match.re.groups else match[0]
        for match in found
        if match is not None
    ]
    if empty := [name for name, group in zip(names, groups, strict=True) if not group]:
        raise DataError(
            f"--group-pattern {pattern!r} captures no text in {empty[0]!r}: change it so that it captures the group"
        )
    return manifest.with_column("group", groups)


def _below(uri: str, root: str) -> str:
    name = display_name(uri)
    path = PurePath(name)
    base = PurePath(root) if root else None
    return path.relative_to(base).as_posix() if base and path.is_relative_to(base) else path.as_posix()


def group_numbers(manifest: Manifest, alike: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Number the sets of images that must stay together, (N,): images of one group, or of the same content.

    Numbers ascend in the order of the rows.

    :param alike: further numbers of sets that must stay together, (N,), as those of near-duplicates.

    >>> manifest = Manifest.from_rows(["/a.jpg", "/b.jpg", "/c.jpg", "/d.jpg"], groups=["p1", None, "p1", None])
    >>> group_numbers(manifest.with_column("hash", ["1", "2", "3", "3"]))
    array([0, 1, 0, 0])
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    # Images of one content share its node; so do those of one group, and those of one set.
    contents = pc.coalesce(manifest.table["hash"], manifest.table["uri"])
    sets = [contents, manifest.table["group"], *([] if alike is None else [pa.chunked_array([alike])])]
    nodes, first = [], 0
    for column in sets:
        codes = numbered(column)
        nodes.append(np.where(codes < 0, codes, codes + first))
        first += int(codes.max(initial=-1)) + 1
    edges = [(nodes[0][some], other[some]) for other in nodes[1:] for some in [other >= 0]]
    one, other = (np.concatenate([edge[side] for edge in edges]) for side in (0, 1))
    graph = csr_array((np.ones(len(one), bool), (one, other)), shape=(first, first))
    joined = connected_components(graph, directed=False)[1][nodes[0]]
    return numbered(pa.chunked_array([joined]))


def numbered(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Number the distinct values of a column in the order of their first appearance, (N,); -1 for null.

    >>> numbered(pa.chunked_array([["b", None, "a", "b"]]))
    array([ 0, -1,  1,  0])
    """
    codes = column.combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(-1).to_numpy(), np.int64)


def grouped(manifest: Manifest) -> NDArray[np.int64] | None:
    """The numbers of :func:`group_numbers`, (N,); None if no image belongs to a group."""
    groups = manifest.table["group"]
    return None if groups.null_count == len(groups) else group_numbers(manifest)


def divided_groups(manifest: Manifest) -> list[tuple[str, tuple[str, ...]]]:
    """The groups whose usable images are in more than one split, each with these splits.

    >>> manifest = Manifest.from_rows(["/a.jpg", "/b.jpg"], groups=["p1", "p1"], splits=["train", "test"])
    >>> divided_groups(manifest)
    [('p1', ('train', 'test'))]
    """
    if manifest.table["group"].null_count == len(manifest):
        return []
    usable = manifest.usable
    splits: dict[str, set[str]] = {}
    for group, split in zip(usable.groups, usable.splits, strict=True):
        if group is not None and split is not None:
            splits.setdefault(group, set()).add(split)
    return [
        (group, tuple(split for split in SPLITS if split in found)) for group, found in splits.items() if len(found) > 1
    ]
