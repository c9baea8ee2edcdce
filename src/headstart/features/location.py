"""Where feature tables are kept: a folder of this machine or of a shared file system, or an address of object storage.

Paths at an address are those of universal_pathlib, over the same fsspec file systems that read images. Lance has
clients of its own: they find credentials as the provider's tools do, and are told here what else they must know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from headstart import paths
from headstart.data.sources.remote import SCHEMES
from headstart.data.sources.s3_objects import endpoint_of
from headstart.errors import SettingsError, StoreError
from headstart.files import write_json

if TYPE_CHECKING:
    from upath import UPath

__all__ = [
    "Location",
    "address_errors",
    "feature_location",
    "lance_options",
    "remove_all",
    "short_reason",
    "size_of",
    "write_document",
]

Location: TypeAlias = "Path | UPath"
"""A folder, or an address."""

_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")  # in the XML that S3 answers with


def feature_location(cache_dir: str | None = None, feature_store: str | None = None) -> Location:
    """The place of the feature store.

    :param cache_dir: where it is, in the folder ``features``, unless ``feature_store`` says otherwise.
    :param feature_store: a folder, or an address such as ``s3://bucket/features``.
    :raises SettingsError: no such folder can be named, or the package that the address needs is not installed.

    >>> feature_location("cache").parts, feature_location(feature_store="store").parts
    (('cache', 'features'), ('store',))
    """
    if feature_store is None:
        return paths.features(cache_dir)
    scheme, separator, _ = feature_store.partition("://")
    if not separator:
        return Path(feature_store).expanduser()
    try:
        from upath import UPath

        # Another process may add a table at any time, which a listing of before would not have.
        found = UPath(feature_store.rstrip("/"), use_listings_cache=False)
        _ = found.fs  # imports the package
    except ImportError as failure:
        install = SCHEMES.get(scheme, SCHEMES["s3"])
        raise SettingsError(f"--feature-store {feature_store}: {failure.msg}: run {install}") from failure
    return found


def lance_options(location: Location) -> dict[str, str] | None:
    """How Lance connects to an address: to the same endpoint and region as fsspec. None for a folder."""
    if isinstance(location, Path):
        return None
    options = {"allow_http": "true"}
    if location.protocol == "s3":
        system: Any = location.fs
        system.connect()
        endpoint, region = endpoint_of(system)
        if endpoint is not None:  # else Lance finds the region of the bucket
            options |= {"aws_endpoint": endpoint, "aws_region": region}
        if system.anon:
            options["aws_skip_signature"] = "true"
    return options


def write_document(location: Location, value: Any) -> None:
    """Write ``value`` as JSON: readers see all of it, or what was there before."""
    if isinstance(location, Path):
        write_json(location, value)
    else:
        import json

        location.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def size_of(location: Location) -> int:
    """Bytes of a file, or of everything below a folder; 0 if there is nothing."""
    if not isinstance(location, Path):
        with suppress(FileNotFoundError):
            return int(location.fs.du(location.path))
        return 0
    total = 0
    for file in [location] if location.is_file() else location.rglob("*"):
        with suppress(FileNotFoundError):  # another process may be pruning
            total += file.stat().st_size if file.is_file() else 0
    return total


def remove_all(location: UPath, *, first: str) -> None:
    """Remove everything below an address, beginning with what lies in the folder ``first``."""
    for each in (location / first, location):
        with suppress(FileNotFoundError):
            each.fs.rm(each.path, recursive=True)


@contextmanager
def address_errors(location: Location) -> Iterator[None]:
    """Say what was wrong with an address; errors of a folder pass.

    :raises StoreError: it cannot be reached, or written.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as failure:  # the clients' errors have no common type
        if isinstance(location, Path):
            raise
        raise StoreError(f"{location}: {short_reason(failure)}; check the address, and the credentials") from failure


def short_reason(failure: BaseException) -> str:
    """What a provider of object storage says, without the request and its XML; other messages as they are."""
    found = _MESSAGE.search(str(failure))
    return found[1] if found else str(failure)
