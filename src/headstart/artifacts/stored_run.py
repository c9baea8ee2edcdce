"""A run at an address of object storage, such as ``s3://bucket/runs/dogs``: put there as it is, and fetched. No torch.

What is fetched is what prediction needs, in a folder of the cache for each version: nothing that is executed when it is
read. Clients, credentials and errors are those of the images that are read from such addresses.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from headstart import paths
from headstart.artifacts.hub import FETCHED
from headstart.data.sources.remote import file_system, retrying
from headstart.errors import DataError, HeadstartError, OutputError, RunError
from headstart.files import clear_remains, temporary_folder

__all__ = ["fetch_run", "files_of", "is_address", "put_run"]

_SCHEMES = ("s3://", "gs://", "abfs://")
_DOCUMENT = "classifier/model.json"  # written last: it has the digests of the files beside it


def is_address(name: str | os.PathLike[str]) -> bool:
    """Whether a name is an address of object storage.

    >>> is_address("s3://bucket/runs/dogs"), is_address("runs/dogs"), is_address("hf:me/dogs")
    (True, False, False)
    """
    return os.fspath(name).startswith(_SCHEMES)


def fetch_run(address: str) -> Path:
    """Fetch the classifier of a run, or take the copy of this version that is in the cache; return the folder of it.

    :raises RunError: there is none, or it cannot be fetched.
    """
    try:
        system = file_system(address)
        there = {name: each for name, each in _files_at(system, address).items() if name in FETCHED}
        if not any(name.endswith("model.json") for name in there):
            raise RunError(
                f"{address}: no classifier of headstart is there; headstart push RUN {address} puts one there"
            )
        version = hashlib.blake2b(digest_size=16)
        for name, each in sorted(there.items()):
            facts = (address, name, *(each.get(fact) for fact in ("size", "ETag", "etag", "LastModified", "updated")))
            version.update(repr(facts).encode())
        folder = paths.runs() / version.hexdigest()
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            clear_remains(folder.parent)
            with temporary_folder(folder.parent) as work:
                for name, each in there.items():
                    (work / "run" / name).parent.mkdir(parents=True, exist_ok=True)
                    retrying(partial(system.get_file, each["name"], str(work / "run" / name)))
                with suppress(FileExistsError):  # another process was faster
                    (work / "run").rename(folder)
    except DataError as failure:  # the package is not installed
        raise RunError(str(failure)) from failure
    except HeadstartError:
        raise
    except Exception as failure:  # the clients' errors have no common type
        raise RunError(f"{address}: cannot be fetched: {_reason(failure)}") from failure
    return folder


def files_of(run: Path) -> dict[str, int]:
    """The files of a run folder that :func:`put_run` would put, by their names in it, with their sizes.

    :raises RunError: there is no run with a classifier.
    """
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
            found[name] = path.stat().st_size
    if _DOCUMENT not in found:
        raise RunError(f"{run}: has no classifier to put there; pass the folder that `headstart fit` wrote")
    return found


def put_run(run: Path, address: str) -> None:
    """Put the files of a run at an address. Those of an earlier run there are replaced, and the others removed.

    Readers meanwhile get an error about a classifier that does not match its document, and never a mixture.

    :raises RunError: there is no run with a classifier.
    :raises OutputError: something else than a run is there, or it cannot be written.
    """
    names = sorted(files_of(run), key=lambda name: (name == _DOCUMENT, name))
    try:
        system = file_system(address)
        there = _files_at(system, address)
        if there and _DOCUMENT not in there:
            raise OutputError(f"{address}: something is there that is no run ({min(there)}); choose another address")
        for name in names:
            retrying(partial(system.put_file, str(run / name), f"{address.rstrip('/')}/{name}"))
        if left := [each["name"] for name, each in there.items() if name not in names]:
            system.rm(left)
    except DataError as failure:
        raise OutputError(str(failure)) from failure
    except HeadstartError:
        raise
    except Exception as failure:
        raise OutputError(f"{address}: cannot be written: {_reason(failure)}") from failure


def _files_at(system: Any, address: str) -> dict[str, Mapping[str, Any]]:
    """What is below an address, by its name there."""
    system.invalidate_cache()  # others may have changed it
    root = address.partition("://")[2].rstrip("/") + "/"
    found = retrying(partial(system.find, address, detail=True))
    return {name.removeprefix(root): each for name, each in found.items() if name.startswith(root) and name != root}


def _reason(failure: Exception) -> str:
    text = " ".join(str(failure).split())
    return f"{type(failure).__name__}: {text}; check the address, and the credentials"
