"""Samples of WebDataset: members of an archive that differ in what follows the first dot of their name.

``0001.jpg`` has its class in ``0001.cls``, or in a field of ``0001.json``. See the `description of the format
<https://github.com/webdataset/webdataset#the-webdataset-format>`_.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from headstart.data.formats import is_image_name
from headstart.data.sources.table_file import TableFile, rows_of
from headstart.errors import DataError

__all__ = ["has_labels", "label_table", "samples"]

_LABELS = ("cls", "json")


def _parted(name: str) -> tuple[str, str]:
    """The key of a sample, and the extension of a part.

    >>> _parted("a/0001.seg.png")
    ('a/0001', 'seg.png')
    """
    folder, slash, last = name.rpartition("/")
    key, _, extension = last.partition(".")
    return f"{folder}{slash}{key}", extension.lower()


def has_labels(names: Collection[str]) -> bool:
    """Whether an image has its class in a file beside it.

    >>> has_labels(["1.jpg", "1.cls"]), has_labels(["cats/1.jpg", "info.json"])
    (True, False)
    """
    images = {_parted(name)[0] for name in names if is_image_name(name)}
    return any(extension in _LABELS and key in images for key, extension in map(_parted, names))


def samples(archive: str, names: Collection[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each image, with the names of the parts beside it by their extension, in the order of the archive.

    :raises DataError: a sample has several images.
    """
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        key, extension = _parted(name)
        parts.setdefault(key, {})[extension] = name
    for key, beside in parts.items():
        images = [name for name in beside.values() if is_image_name(name)]
        if len(images) > 1:
            raise DataError(
                f"{archive}: the sample {key!r} has the images {' and '.join(sorted(images))}, but headstart takes one "
                "image per sample: write shards with the one to be classified"
            )
        if images:
            yield images[0], beside


def label_table(
    root: str, keys: Sequence[tuple[str, Mapping[str, str]]], read: Callable[[str, str], bytes]
) -> TableFile:
    """What stands beside the images, as a table with one row per image: "cls", and the fields of the JSON files.

    :param keys: the archive of each image, and the names of the parts of its sample.
    :raises DataError: a part is not what its extension says.
    """
    rows = [_fields(archive, beside, read) for archive, beside in keys]
    return rows_of(Path(root), rows)


def _fields(archive: str, beside: Mapping[str, str], read: Callable[[str, str], bytes]) -> Mapping[str, object]:
    fields: dict[str, object] = {}
    if name := beside.get("json"):
        fields |= _json(f"{archive}!{name}", read(archive, name))
    if name := beside.get("cls"):
        try:
            fields["cls"] = read(archive, name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{archive}!{name} is not text: {error}") from error
    return fields


def _json(name: str, data: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON: {error}") from error
    return found if isinstance(found, dict) else {"json": found}
