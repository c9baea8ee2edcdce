"""SHA-256 of files and of whole folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headstart.progress import Progress, in_megabytes
from headstart.scale import cores

__all__ = ["file_digest", "folder_digests"]

_CHUNK = 1 << 20


def file_digest(path: Path, *, progress: Progress | None = None) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits. OSError: it cannot be read."""
    digest = hashlib.sha256()
    stage = (progress or Progress()).stage(f"checking {path.name}", total=path.stat().st_size >> 20, unit="megabyte")
    with path.open("rb") as file, stage as advance:
        tell = in_megabytes(advance)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            tell(len(chunk))
    return digest.hexdigest()


def folder_digests(folder: Path, *, progress: Progress | None = None) -> dict[str, str]:
    """SHA-256 of each file below a folder, by its path there; hidden files, which systems leave behind, are not."""
    files = sorted(_files(folder))
    with (
        (progress or Progress()).stage(f"checking {folder.name}", total=len(files), unit="file") as advance,
        ThreadPoolExecutor(cores()) as pool,
    ):
        found = {}
        for name, digest in zip(files, pool.map(lambda name: file_digest(folder / name), files), strict=True):
            found[name] = digest
            advance(1)
    return found


def _files(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield (Path(root) / name).relative_to(folder).as_posix()
