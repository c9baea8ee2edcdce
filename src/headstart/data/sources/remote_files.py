"""Listing remote folders, with labels and splits from the names of folders, and containers in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from headstart.data.formats import is_image_name
from headstart.data.sources.archives import ARCHIVES, Archives
from headstart.data.sources.base import FoundImage
from headstart.data.sources.containers import expand, has_pattern
from headstart.data.sources.image_columns import IMAGE_COLUMNS, SUFFIXES, ImageColumns
from headstart.data.sources.readings import ReadOptions, SourceReading, read_members
from headstart.data.sources.remote import SCHEMES, RemoteImage, file_system, know, retrying
from headstart.data.sources.table_file import SUFFIXES as TABLES
from headstart.description import LeftOut
from headstart.errors import DataError

__all__ = ["REMOTE", "RemoteFiles"]

_CONTAINERS: Mapping[str, Archives | ImageColumns] = {
    **{f".{source.scheme}": source for source in ARCHIVES},
    **{suffix: source for source in IMAGE_COLUMNS for suffix in SUFFIXES[source.scheme]},
}


@dataclass(frozen=True)
class RemoteFiles(RemoteImage):
    """Files of one scheme: single images, folders of images, archives, and tables with images."""

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images below a URL.

        :raises DataError: it cannot be listed, or two readings fit.
        """
        return self.read(root, ReadOptions()).images

    def read(self, root: str, options: ReadOptions) -> SourceReading:
        """Return the images below a URL, or in the archives or Parquet files there.

        :raises DataError: it cannot be listed, or two readings fit.
        """
        if is_image_name(root) and not has_pattern(root):
            return SourceReading([FoundImage(root)], "images")
        found = _listing(root)
        base = root.rstrip("/") + "/"
        names = {uri: uri.removeprefix(base) for uri in found}
        names = {uri: name for uri, name in names.items() if not any(part.startswith(".") for part in name.split("/"))}
        images = sorted((name.split("/"), name, uri) for uri, name in names.items() if is_image_name(name))
        if images:
            reading = read_members(
                root, [(name, uri) for _, name, uri in images], options, source=f"a folder of {self.scheme}"
            )
            tables = sorted(name for name in names.values() if name.lower().endswith(TABLES))
            text = "tables in a remote folder are not read: one on this machine may have the URLs of the images"
            left = tuple(LeftOut(name, text) for name in tables[:5])
            return SourceReading(
                reading.images,
                reading.source,
                reading.folders,
                reading.names,
                left_out=(*reading.left_out, *left),
                guesses=reading.guesses,
            )
        kinds = {suffix for uri in names for suffix in _CONTAINERS if uri.lower().endswith(suffix)}
        if len(kinds) != 1:
            what = f"files of several kinds ({', '.join(sorted(kinds))})" if kinds else "no images"
            raise DataError(f"{root} has {what}: name the folder, or a pattern of the files, for example {base}*.tar")
        suffix = kinds.pop()
        files = sorted(uri for uri in names if uri.lower().endswith(suffix))
        return _CONTAINERS[suffix].read_files(root, files, options)


def _listing(root: str) -> dict[str, Mapping[str, Any]]:
    """What is below a URL, by URI; the stamps are kept."""
    system = file_system(root)
    try:
        if has_pattern(root):
            found: dict[str, Mapping[str, Any]] = {}
            for each in expand(root):
                found |= retrying(partial(system.glob, each, detail=True))
        elif root.lower().endswith(tuple(_CONTAINERS)):
            found = {root: retrying(lambda: system.info(root))}
        else:
            found = retrying(lambda: system.find(root, detail=True))
    except FileNotFoundError:
        raise DataError(f"{root}: no such folder or file") from None
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{root} cannot be listed: {type(error).__name__}: {error}") from error
    files = {system.unstrip_protocol(name): each for name, each in found.items() if each.get("type") != "directory"}
    if not files:
        raise DataError(f"{root}: no such folder or file")
    for uri, information in files.items():
        know(uri, information)
    return files


REMOTE = tuple(RemoteFiles(scheme) for scheme in SCHEMES)
