"""A known data set by name -> its folder: fetched, unpacked, and looked at before it has its name."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from headstart import __version__
from headstart.data.digests import file_digest, folder_digests
from headstart.data.download import Published, fetch, fetch_from_kaggle, verify
from headstart.data.known import DOG_BREEDS, IMAGENET_V2, Competition, Known
from headstart.data.unpack import Limits, room, unpack
from headstart.errors import DataError, DownloadError
from headstart.files import write_json
from headstart.progress import Progress

__all__ = ["RECORD", "dog_breeds", "get", "imagenet_v2"]

RECORD = ".headstart.json"
"""The file in a data set's folder that says where it came from, with the SHA-256 of each of its files."""

_ZIPPED = ("labels.csv", "sample_submission.csv", "train", "test")


def imagenet_v2(
    variant: str, out: Path | None = None, *, archive: Path | None = None, progress: Progress | None = None
) -> list[str]:
    """ImageNetV2 as a folder with a folder a class; see :func:`get`."""
    return get(IMAGENET_V2[variant], out, archive=archive, progress=progress)


def dog_breeds(out: Path | None = None, *, archive: Path | None = None, progress: Progress | None = None) -> list[str]:
    """Kaggle's dog breeds as labels.csv beside train/ (and test/); see :func:`get`."""
    return get(DOG_BREEDS, out, archive=archive, progress=progress)


def get(
    known: Known, out: Path | None = None, *, archive: Path | None = None, progress: Progress | None = None
) -> list[str]:
    """Put a data set into the folder ``out`` (by itself its name, here), and tell what is there, and what to do next.

    What is there already is not fetched again, but compared with its record. What is on its way lies in
    ``<out>.download``, from which the next call goes on after an interruption.

    :param archive: the file as it is published, downloaded by hand; it is left where it is.
    :raises DownloadError: it cannot be had, or is not what was published.
    :raises DataError: it cannot be unpacked, is not whole, or was changed since.
    """
    out, progress = out or Path(known.name), progress or Progress()
    try:
        if out.exists() and not _is_empty(out):
            told = f"{out} is there already: {_still_whole(known, out, progress)}"
        else:
            told = f"{_brought(known, out.resolve(), archive, progress)}: {out}"
    except OSError as failure:  # a folder that may not be written to, a disk that is full
        raise DataError(f"{out}: {failure.strerror or failure} ({failure.filename})") from failure
    return [told, f"next: {known.next.format(shlex.quote(str(out)))}"]


def _is_empty(folder: Path) -> bool:
    """Whether a folder may be taken for one that is not there. DataError: it is the one where we are."""
    if not folder.is_dir() or any(folder.iterdir()):
        return False
    if folder.resolve() == Path.cwd():
        raise DataError(f"{folder} is the current folder: name a new one with --out")
    return True


def _still_whole(known: Known, out: Path, progress: Progress) -> str:
    if not out.is_dir():
        raise DataError(f"{out} is a file: choose another place with --out")
    try:
        found = known.check(out)
    except DataError as failure:
        raise DataError(f"{failure}; move {out} away, or choose another place with --out") from failure
    record = out / RECORD
    if not record.exists():
        return f"{found} (who put them there is not recorded: their bytes are not compared)"
    recorded = _read(record)
    now = folder_digests(out, progress=progress)
    changed = [name for name, digest in recorded.items() if now.get(name) != digest]
    if changed:
        more = f" and {len(changed) - 1:,} more" * (len(changed) > 1)
        text = f"{out}: {changed[0]}{more} is not as it was unpacked ({record})"
        raise DataError(f"{text}; move {out} away to have it unpacked again")
    return f"{found}, unchanged since they were unpacked"


def _read(record: Path) -> dict[str, str]:
    try:
        files = json.loads(record.read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise DataError(f"{record} is damaged; without it the bytes beside it are not compared: remove it") from failure


def _brought(known: Known, out: Path, archive: Path | None, progress: Progress) -> str:
    work = out.with_name(f"{out.name}.download")
    folder = work / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        origin = _unpacked(known, work, folder, archive, progress)
        root = _root(folder)
        _unpack_inner(root, Limits(bytes=known.unpacked), progress)
        found = known.check(root)
        _write_record(root, {"name": known.name, **origin, "found": found}, progress)
        if out.exists():
            out.rmdir()  # it is empty
        os.replace(root, out)  # noqa: PTH105
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()
    shutil.rmtree(work, ignore_errors=True)
    return found


def _unpacked(known: Known, work: Path, folder: Path, archive: Path | None, progress: Progress) -> dict[str, Any]:
    """Put what is published into ``folder``; tell where it came from, for the record."""
    if archive is None and isinstance(known.origin, Competition):
        return _copied(fetch_from_kaggle(known.origin.slug, progress=progress), folder, known.origin.slug, progress)
    if archive is not None:
        if not archive.is_file():
            raise DataError(f"{archive}: no such archive")
        path, origin = archive, archive.name
        if isinstance(known.origin, Published):
            verify(archive, known.origin, progress=progress)
    else:
        path, origin = _fetched(known, work, progress)
    digest = known.origin.sha256 if isinstance(known.origin, Published) else file_digest(path, progress=progress)
    unpack(path, folder, limits=Limits(bytes=known.unpacked), progress=progress)
    return {"from": origin, "sha256": digest}


def _fetched(known: Known, work: Path, progress: Progress) -> tuple[Path, str]:
    assert isinstance(known.origin, Published)
    came = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    room(work, max(2 * known.origin.bytes - came, 0), f"to fetch and unpack {known.name}")
    try:
        return fetch(known.origin, work, progress=progress), known.origin.file
    except DownloadError as failure:
        text = f"{failure}\ndownload it where there is a network, and give it: --archive FILE"
        raise DownloadError(text) from failure


def _copied(kept: Path, folder: Path, slug: str, progress: Progress) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    room(folder, size, f"to copy {kept}")
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns(".*"))
    progress.say(f"Kaggle's client keeps its own copy, {size / 1e6:,.0f} MB, in {kept}")
    return {"from": f"Kaggle competition {slug}", "sha256": None}


def _unpack_inner(root: Path, limits: Limits, progress: Progress) -> None:
    """Zips in the archive: Kaggle has had train.zip, with a folder train in it, and labels.csv.zip."""
    for path in (root / f"{name}.zip" for name in _ZIPPED):
        name = path.with_suffix("")
        if path.is_file() and not name.exists():
            inner = unpack(path, path.with_name(f".{name.name}"), limits=limits, progress=progress)
            content = inner / name.name
            os.replace(content if content.exists() else inner, name)  # noqa: PTH105
            shutil.rmtree(inner, ignore_errors=True)
            path.unlink()


def _root(folder: Path) -> Path:
    """Where the data are: archives often have one folder at the top, of any name."""
    while True:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        if len(inside) != 1 or not inside[0].is_dir():
            return folder
        folder = inside[0]


def _write_record(root: Path, facts: dict[str, Any], progress: Progress) -> None:
    files = folder_digests(root, progress=progress)
    write_json(root / RECORD, {"headstart": __version__, **facts, "files": files})
