"""SHA-256 of files and of whole folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from headstart.events import Events, in_megabytes
from headstart.execution import open_executor

__all__ = ["file_digest", "folder_digests"]

_CHUNK = 1 << 20


def file_digest(path: Path, *, events: Events | None = None) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits.

    :raises OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    stage = (events or Events()).stage(f"checking {path.name}", total=path.stat().st_size >> 20, unit="megabyte")
    with path.open("rb") as file, stage as advance:
        advance_bytes = in_megabytes(advance)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            advance_bytes(len(chunk))
    return digest.hexdigest()


def folder_digests(folder: Path, *, events: Events | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder by relative path, without hidden files, which systems create."""
    names = sorted(_files(folder))
    with (
        (events or Events()).stage(f"checking {folder.name}", total=len(names), unit="file") as advance,
        open_executor(len(names), kind="threads") as executor,
    ):
        found = {}
        paths = [folder / name for name in names]
        for name, digest in zip(names, executor.map(file_digest, paths), strict=True):
            found[name] = digest
            advance(1)
    return found


def _files(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield (Path(root) / name).relative_to(folder).as_posix()
