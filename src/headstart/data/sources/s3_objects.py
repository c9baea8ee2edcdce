"""Reading many objects of S3 at once by obstore, whose client in Rust takes less processor time than s3fs.

Endpoint, region and credentials are those of s3fs, which also lists: it knows profiles, roles and single sign-on. What
obstore cannot read is left to s3fs, which then says what is wrong, or can read it: a bucket of another region, for
example.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.execution import open_executor

if TYPE_CHECKING:
    from obstore.store import S3Credential

__all__ = ["endpoint_of", "read_objects"]

_AT_ONCE = 16  # requests
_RETRIES: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}  # s3fs tries again, and longer
_LIFETIME = timedelta(minutes=5)  # of credentials, until s3fs is asked again: it renews those that expire

_STORES: dict[tuple[int, str, str], Any] = {}  # by process, endpoint and bucket; None if obstore cannot read it


def read_objects(system: Any, uris: Iterable[str]) -> tuple[dict[str, bytes], list[str]]:
    """Read objects into memory.

    :param system: the file system of s3fs.
    :param uris: such as ``s3://bucket/folder/1.jpg``.
    :returns: what was read, by URI, and the URIs of what was not.
    """
    wanted = list(uris)
    try:
        import obstore
    except ImportError:
        return {}, wanted
    places = {uri: uri.removeprefix("s3://").partition("/") for uri in wanted}
    keys = {bucket: (os.getpid(), str(system.s3.meta.endpoint_url), bucket) for bucket, _, _ in places.values()}
    for bucket, key in keys.items():
        if key not in _STORES:
            _STORES[key] = _open(system, bucket)

    def read(uri: str) -> bytes | None:
        bucket, _, name = places[uri]
        if (store := _STORES[keys[bucket]]) is None:
            return None
        try:
            return bytes(obstore.get(store, name).bytes())
        except FileNotFoundError:
            return None
        except Exception:
            _STORES[keys[bucket]] = None
            return None

    with open_executor(len(wanted), workers=_AT_ONCE, kind="threads") as executor:
        found = {uri: data for uri, data in zip(wanted, executor.map(read, wanted), strict=True) if data is not None}
    return found, [uri for uri in wanted if uri not in found]


def _open(system: Any, bucket: str) -> Any:
    """Obstore's client for a bucket; None if s3fs does not say how it connects."""
    from obstore.store import S3Store

    with suppress(Exception):
        endpoint, region = endpoint_of(system)
        connect = partial(S3Store, bucket, client_options={"allow_http": True}, retry_config=_RETRIES)
        if endpoint is not None:
            connect = partial(connect, endpoint=endpoint)
        if system.anon:
            return connect(region=region, skip_signature=True)
        return connect(region=region, credential_provider=_credentials(system))
    return None


def endpoint_of(system: Any) -> tuple[str | None, str]:
    """The endpoint that s3fs has connected to, None for that of AWS, and its region."""
    meta = system.s3.meta
    return None if "amazonaws.com" in meta.endpoint_url else meta.endpoint_url, meta.region_name or "us-east-1"


def _credentials(system: Any) -> Callable[[], S3Credential]:
    from fsspec.asyn import sync

    async def current() -> Any:
        credentials = await system.session.get_credentials()
        return await credentials.get_frozen_credentials()

    def provide() -> S3Credential:
        found = sync(system.loop, current)
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            "expires_at": datetime.now(timezone.utc) + _LIFETIME,
        }

    return provide
