"""Download a data set by name: fetch, unpack, and check it before its folder gets its final name."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

from headstart import __version__
from headstart.data.datasets import DOG_BREEDS, IMAGENET_V2, Competition, DatasetInfo
from headstart.data.digests import file_digest, folder_digests
from headstart.data.download import RemoteFile, fetch, fetch_from_kaggle, verify
from headstart.data.unpack import Limits, check_free_space, unpack
from headstart.errors import DataError, DownloadError
from headstart.events import Events
from headstart.files import check_writable, write_json

__all__ = ["RECORD", "download_dataset", "download_dog_breeds", "download_imagenet_v2"]

RECORD = ".headstart.json"
"""The file in the folder of a data set that records its origin and the SHA-256 of each of its files."""

_MAYBE_ZIPPED = ("labels.csv", "sample_submission.csv", "train", "test")


def download_imagenet_v2(
    variant: str, out: Path | None = None, *, archive: Path | None = None, events: Events | None = None
) -> list[str]:
    """Download ImageNetV2, with one subfolder per class; see :func:`download_dataset`."""
    return download_dataset(IMAGENET_V2[variant], out, archive=archive, events=events)


def download_dog_breeds(
    out: Path | None = None, *, archive: Path | None = None, events: Events | None = None
) -> list[str]:
    """Download Kaggle's dog breeds, labels.csv next to train/ (and test/); see :func:`download_dataset`."""
    return download_dataset(DOG_BREEDS, out, archive=archive, events=events)


def download_dataset(
    dataset: DatasetInfo, out: Path | None = None, *, archive: Path | None = None, events: Events | None = None
) -> list[str]:
    """Download a data set into the folder ``out``; return lines that describe it and give the next command.

    A folder that exists is not downloaded again, but compared with its record. Partial data are in ``<out>.download``,
    from which the next call resumes after an interruption.

    :param out: by default the name of the data set, in the current folder.
    :param archive: the published file, if it was downloaded by hand; it is left in place.
    :raises DownloadError: the file cannot be downloaded, or is not the published one.
    :raises DataError: it cannot be unpacked, is not complete, or was changed since.
    :raises OutputError: ``out`` cannot be written.
    """
    out, events = out or Path(dataset.name), events or Events()
    if not out.exists():
        check_writable(out, folder=True)
    try:
        if out.exists() and not _is_empty(out):
            text = f"{out} exists already: {_verify_folder(dataset, out, events)}"
        else:
            text = f"{_create_folder(dataset, out.resolve(), archive, events)}: {out}"
    except OSError as failure:  # a folder without permission to write, a full disk
        raise DataError(f"{out}: {failure.strerror or failure} ({failure.filename})") from failure
    return [text, f"next: {dataset.next_command.format(shlex.quote(str(out)))}"]


def _is_empty(folder: Path) -> bool:
    """Whether a folder is empty and may be replaced. DataError: it is the current folder."""
    if not folder.is_dir() or any(folder.iterdir()):
        return False
    if folder.resolve() == Path.cwd():
        raise DataError(f"{folder} is the current folder: name a new one with --out")
    return True


def _verify_folder(dataset: DatasetInfo, out: Path, events: Events) -> str:
    if not out.is_dir():
        raise DataError(f"{out} is a file: choose another folder with --out")
    try:
        found = dataset.check(out)
    except DataError as failure:
        raise DataError(f"{failure}; move {out} away, or choose another folder with --out") from failure
    record = out / RECORD
    if not record.exists():
        return f"{found} (headstart did not download them: their content is not verified)"
    recorded = _read_record(record)
    digests = folder_digests(out, events=events)
    changed = [name for name, digest in recorded.items() if digests.get(name) != digest]
    if changed:
        more = f" and {len(changed) - 1:,} more" * (len(changed) > 1)
        text = f"{out}: {changed[0]}{more} changed after unpacking ({record})"
        raise DataError(f"{text}; move {out} away to unpack it again")
    return f"{found}, unchanged since they were unpacked"


def _read_record(record: Path) -> dict[str, str]:
    try:
        files = json.loads(record.read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise DataError(f"{record} is damaged: remove it to use the folder without verification") from failure


def _create_folder(dataset: DatasetInfo, out: Path, archive: Path | None, events: Events) -> str:
    work = out.with_name(f"{out.name}.download")
    folder = work / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        origin = _unpack_into(folder, dataset, work, archive, events)
        root = _data_root(folder)
        _unpack_inner(root, Limits(bytes=dataset.max_bytes), events)
        found = dataset.check(root)
        _write_record(root, {"name": dataset.name, **origin, "found": found}, events)
        if out.exists():
            out.rmdir()  # it is empty
        os.replace(root, out)  # noqa: PTH105
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()
    shutil.rmtree(work, ignore_errors=True)
    return found


def _unpack_into(
    folder: Path, dataset: DatasetInfo, work: Path, archive: Path | None, events: Events
) -> dict[str, object]:
    """Put the published files into ``folder``; return their origin for the record."""
    if archive is None and isinstance(dataset.origin, Competition):
        source = fetch_from_kaggle(dataset.origin.slug, events=events)
        return _copy_from_cache(source, folder, dataset.origin.slug, events)
    if archive is not None:
        if not archive.is_file():
            raise DataError(f"{archive}: no such archive")
        path, origin = archive, archive.name
        if isinstance(dataset.origin, RemoteFile):
            verify(archive, dataset.origin, events=events)
    else:
        path, origin = _fetch(dataset, work, events)
    digest = dataset.origin.sha256 if isinstance(dataset.origin, RemoteFile) else file_digest(path, events=events)
    unpack(path, folder, limits=Limits(bytes=dataset.max_bytes), events=events)
    return {"from": origin, "sha256": digest}


def _fetch(dataset: DatasetInfo, work: Path, events: Events) -> tuple[Path, str]:
    assert isinstance(dataset.origin, RemoteFile)
    received = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    check_free_space(work, max(2 * dataset.origin.bytes - received, 0), f"to download and unpack {dataset.name}")
    try:
        return fetch(dataset.origin, work, events=events), dataset.origin.file
    except DownloadError as failure:
        text = f"{failure}\ndownload it on a machine with network access, and pass it with --archive FILE"
        raise DownloadError(text) from failure


def _copy_from_cache(source: Path, folder: Path, slug: str, events: Events) -> dict[str, object]:
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    check_free_space(folder, size, f"to copy {source}")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".*"))
    events.notice(f"Kaggle's client keeps its own copy, {size / 1e6:,.0f} MB, in {source}")
    return {"from": f"Kaggle competition {slug}", "sha256": None}


def _unpack_inner(root: Path, limits: Limits, events: Events) -> None:
    """Unpack zips inside the archive: Kaggle's had train.zip, which contains a folder train, and labels.csv.zip."""
    for path in (root / f"{name}.zip" for name in _MAYBE_ZIPPED):
        target = path.with_suffix("")
        if path.is_file() and not target.exists():
            inner = unpack(path, path.with_name(f".{target.name}"), limits=limits, events=events)
            content = inner / target.name
            os.replace(content if content.exists() else inner, target)  # noqa: PTH105
            shutil.rmtree(inner, ignore_errors=True)
            path.unlink()


def _data_root(folder: Path) -> Path:
    """The folder with the data: archives often have a single top-level folder, of any name."""
    while True:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        if len(inside) != 1 or not inside[0].is_dir():
            return folder
        folder = inside[0]


def _write_record(root: Path, origin: dict[str, object], events: Events) -> None:
    files = folder_digests(root, events=events)
    write_json(root / RECORD, {"headstart": __version__, **origin, "files": files})
