"""Which source reads a path that a person names: an archive or a table of images is not a folder of files."""

from __future__ import annotations

import os
from pathlib import Path

from headstart.data.sources.base import source_of
from headstart.data.sources.containers import has_pattern, within
from headstart.data.sources.image_columns import SUFFIXES, has_images
from headstart.data.sources.projects import PROJECT_FILE, Projects
from headstart.data.uri import to_uri
from headstart.errors import DataError

__all__ = ["source_place"]

_TABLES = {suffix: scheme for scheme, suffixes in SUFFIXES.items() for suffix in suffixes}
_SCHEMES = {".zip": "zip", ".tar": "tar", **_TABLES}
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def source_place(place: str) -> str:
    """Return the URI of a path that another source than that of files reads; anything else is returned as it is.

    >>> source_place("shards/train-{000..009}.tar")[:4], source_place("photos"), source_place("array:1")
    ('tar:', 'photos', 'array:1')

    :raises DataError: a folder has archives of two kinds, or an archive is compressed as a whole.
    """
    if source_of(place).scheme != "file" or "://" in place:
        return place
    path = Path(place)
    if path.is_dir():
        scheme = _of_folder(path)
    elif path.name.lower().endswith(_COMPRESSED) and path.is_file():
        raise DataError(
            f"{place} is compressed as a whole, so that no image can be read without all before it: unpack it "
            f"(tar -xf {path.name}), or write it without compression"
        )
    else:
        known = path.is_file() or has_pattern(place)
        scheme = _SCHEMES.get(path.suffix.lower()) if known and _is_container(path) else None
    if scheme is None:
        return place
    return f"{scheme}:{os.path.abspath(place) if has_pattern(place) and not path.exists() else to_uri(path)}"  # noqa: PTH100


def _is_container(path: Path) -> bool:
    """Whether a file may have images in it; a Parquet file may also be a table of labels."""
    return path.suffix.lower() not in _TABLES or not path.is_file() or has_images(path)


def _of_folder(folder: Path) -> str | None:
    if (folder / PROJECT_FILE).is_file():
        return Projects.scheme
    found = [path for path in within(folder, tuple(_SCHEMES)) if _is_container(path)]
    schemes = {_SCHEMES[path.suffix.lower()] for path in found}
    if len(schemes) > 1:
        first = [next(path for path in found if _SCHEMES[path.suffix.lower()] == each) for each in sorted(schemes)]
        raise DataError(
            f"{folder} has images in files of several kinds ({', '.join(path.name for path in first)}): name those to "
            f"read, for example {folder}/*{first[0].suffix}"
        )
    return schemes.pop() if schemes else None
