"""Tables of labels in a zip archive or tar file: the tables are unpacked, the images stay where they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.data.formats import is_image_name
from headstart.data.manifest import Manifest
from headstart.data.sources.archives import ARCHIVES, index_of, is_hidden, read_member
from headstart.data.sources.base import source_of
from headstart.data.sources.containers import files_of
from headstart.data.sources.folders import Tree
from headstart.data.sources.table_file import SUFFIXES
from headstart.data.sources.webdataset import has_labels
from headstart.data.unpack import escapes_root
from headstart.data.uri import display_name, to_path
from headstart.errors import DataError

__all__ = ["ArchiveFolder", "archive_folder"]


@dataclass(frozen=True)
class ArchiveFolder:
    """An archive as if it were unpacked: a folder in which only its tables exist, and what else would be in it."""

    root: Path  # temporary; tables at the top of the archive lie directly in it
    tree: Tree  # the images, by their paths below the root
    uri: str  # of the root: "zip:/photos.zip!", or with a folder that everything in the archive is in
    name: str  # of the root in messages

    def table(self, name: str) -> Path:
        """The file of a table that a person named: on this machine, else in the archive.

        :raises DataError: there is no such table.
        """
        if Path(name).exists():
            return Path(name)
        archive, _, top = self.uri.partition("!")
        file = archive.partition(":")[2]
        members = index_of(file)
        for member in (f"{top}{name}", name):
            if member in members and not escapes_root(name):
                return _unpack(file, member, self.root / name)
        raise DataError(f"{self.name}{name}: no such table of labels, in the archive or beside it")

    def restored(self, manifest: Manifest, root: str) -> Manifest:
        """The manifest that was read from this folder, with the URIs of the archive's members."""
        uris = [uri if (below := self._below(uri)) is None else f"{self.uri}{below}" for uri in manifest.uris]
        description = manifest.description
        assert description is not None
        kind = "tar" if self.uri.startswith("tar:") else "zip"
        return Manifest.from_rows(
            uris, labels=manifest.labels, splits=manifest.splits, groups=manifest.groups
        ).described(
            replace(
                description,
                root=root,
                source=f"table in a {kind} archive" if description.source == "table" else description.source,
                table=None if description.table is None else self.told(description.table),
                guesses=tuple(replace(each, what=self.told(each.what)) for each in description.guesses),
                notes=tuple(map(self.told, description.notes)),
            )
        )

    def told(self, text: str) -> str:
        """A message of a person's archive, not of the temporary folder."""
        return text.replace(f"{self.root}/", self.name).replace(str(self.root), self.name)

    def _below(self, uri: str) -> str | None:
        path = to_path(uri)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else None


@contextmanager
def archive_folder(place: str) -> Iterator[ArchiveFolder | None]:
    """Unpack the tables at the top of an archive, and delete them when the block ends.

    :param place: ``zip:ARCHIVE.zip`` or ``tar:ARCHIVE.tar``; of anything else, of several archives and of samples of
        WebDataset, which have their labels beside them, the value is None.
    :raises DataError: the archive or a table in it cannot be read; or, with the archive's name in the message, whatever
        the block raises.
    """
    scheme, _, path = place.partition(":")
    if source_of(place) not in ARCHIVES or "!" in path:  # a person may have registered another source for zip
        yield None
        return
    files = files_of(display_name(path), (f".{scheme}",))
    members = index_of(files[0]) if len(files) == 1 else {}
    if not members or has_labels(members):
        yield None
        return
    names = [name for name in members if not is_hidden(name)]
    tables = [name for name in names if name.lower().endswith(SUFFIXES)]
    images = [name for name in names if is_image_name(name)]
    top = _common_folder([*tables, *images])
    with tempfile.TemporaryDirectory(prefix="headstart-") as temporary:
        root = Path(temporary, Path(display_name(files[0])).name)
        root.mkdir()
        for name in tables:
            if "/" not in name[len(top) :]:
                _unpack(files[0], name, root / name[len(top) :])
        tree = Tree(sorted((name[len(top) :] for name in images), key=lambda name: name.split("/")), [])
        folder = ArchiveFolder(root, tree, f"{scheme}:{files[0]}!{top}", f"{display_name(files[0])}!{top}")
        try:
            yield folder
        except DataError as error:
            raise type(error)(folder.told(str(error))) from error


def _unpack(file: str, name: str, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(read_member(file, index_of(file)[name], f"{display_name(file)}!{name}"))
    return target


def _common_folder(names: Sequence[str]) -> str:
    """The folders that all names begin with, with a slash at the end; empty if there are none.

    >>> _common_folder(["dogs/labels.csv", "dogs/train/1.jpg"]), _common_folder(["labels.csv", "train/1.jpg"])
    ('dogs/', '')
    """
    folders = [name.split("/")[:-1] for name in names]
    if not folders:
        return ""
    shortest = min(folders, key=len)
    count = next((at for at, part in enumerate(shortest) if any(each[at] != part for each in folders)), len(shortest))
    return "".join(f"{part}/" for part in shortest[:count])
