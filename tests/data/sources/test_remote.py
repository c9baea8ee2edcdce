"""Images on other machines: a local server of S3's protocol, and one of HTTP, that run here."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.inspection import inspect_all
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.sources import Stamp, remote, s3_objects
from headstart.data.sources.file_cache import LIMIT, FileCache, cache_limit
from headstart.data.sources.read import read_images
from headstart.data.sources.s3_objects import read_objects
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.errors import DataError, ImageProblem, SettingsError


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


TREE = {
    f"{split}/{'cats' if number % 2 else 'dogs'}/{number}.png": encoded(10 * number + at)
    for at, split in enumerate(("train", "val"))
    for number in range(10)
}


class Bucket:
    """A bucket of the server, and the requests that it got."""

    def __init__(self, url: str) -> None:
        import s3fs

        self.files = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=url, skip_instance_cache=True)
        self.requests: list[str] = []

    def fill(self, name: str, files: Mapping[str, bytes]) -> str:
        self.files.mkdir(name)
        self.files.pipe({f"{name}/{path}": data for path, data in files.items()})
        return f"s3://{name}"

    def count(self, method: str) -> int:
        return sum(f'"{method} ' in each for each in self.requests)


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """The server, as the environment names it."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_SYSTEMS", {})
    found = Bucket(s3)

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.requests.append(record.getMessage())

    log, handler = logging.getLogger("werkzeug"), Listen()
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "level", logging.INFO)
    return found


def rows(manifest: Manifest) -> list[Any]:
    inspected = inspect_all(manifest)
    names = ["/".join(uri.split("/")[-3:]) for uri in inspected.uris]
    return sorted(zip(names, inspected.labels, inspected.splits, inspected.hashes, strict=True))


def test_a_bucket_is_read_as_the_folder_and_each_image_once(bucket: Bucket, tmp_path: Path) -> None:
    root = bucket.fill("photos", TREE)
    for name, data in TREE.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    manifest = read_images(root)
    assert manifest.description is not None
    assert manifest.description.lines()[1] == "  read as: class folders in a folder of s3 (split/class)"
    bucket.requests.clear()
    assert rows(manifest) == rows(read_images(tmp_path / "photos"))
    assert (bucket.count("GET"), bucket.count("HEAD")) == (len(TREE), 0)
    inspected = inspect_all(manifest, workers=2)
    options = {"batch_size": 8, "max_pixels": 1000, "workers": 2, "kind": "processes"}
    views = list(read_views(inspected, range(20), InputSpec(height=8, width=8), **options))  # type: ignore[arg-type]
    assert sum(len(each.rows) for each in views) == 20
    assert (bucket.count("GET"), bucket.count("HEAD")) == (len(TREE), 0)


NAMES = ["a b.jpg", "a%20b.jpg", "x+y&z=.jpg", "~.*'()!.jpg", "\u00e4#?.jpg", "A.JPG", "a.jpg", "deep/er/1.jpg"]


def test_objects_are_read_by_their_very_names(bucket: Bucket) -> None:
    pytest.importorskip("obstore")
    root = bucket.fill("names", {name: name.encode() for name in NAMES})
    uris = [f"{root}/{name}" for name in NAMES]
    found, left = read_objects(remote.file_system(root), [*uris, f"{root}/missing.jpg"])
    assert found == {uri: name.encode() for uri, name in zip(uris, NAMES, strict=True)}
    assert left == [f"{root}/missing.jpg"]


@pytest.mark.parametrize("lacking", ["package", "connection"])
def test_what_obstore_cannot_read_is_read_by_s3fs(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    root = bucket.fill(lacking, {"a/1.png": encoded(1), "b/2.png": encoded(2)})
    if lacking == "package":
        monkeypatch.setitem(sys.modules, "obstore", None)
    else:
        store = pytest.importorskip("obstore.store").S3Store
        options = {"skip_signature": True, "client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
        nowhere = store(lacking, endpoint="http://127.0.0.1:9", **options)
        monkeypatch.setattr(s3_objects, "_open", lambda *_: nowhere)
    manifest = inspect_all(read_images(root))
    assert manifest.usable.labels == ["a", "b"]
    if lacking == "connection":
        assert [each for key, each in s3_objects._STORES.items() if key[-1] == lacking] == [None]


def test_the_inspection_cache_needs_no_request_per_image(bucket: Bucket, tmp_path: Path) -> None:
    root = bucket.fill("stamped", {f"a/{number}.png": encoded(number) for number in range(6)})
    manifest = read_images(root)
    stamps = [manifest.source(row).stamp() for row in range(6)]
    assert all(stamp is not None and stamp.size == len(encoded(n)) for n, stamp in enumerate(stamps))
    cache = InspectionCache(tmp_path / "inspections.parquet")
    old = [None if stamp is None else stamp._replace(modified=1, changed=1) for stamp in stamps]
    remote._STAMPS.update(zip(manifest.uris, old, strict=True))  # objects of this moment count as old
    first = inspect_all(manifest, cache=cache)
    bucket.requests.clear()
    assert inspect_all(manifest, cache=cache).table.equals(first.table)
    assert bucket.requests == []


def test_a_changed_object_is_read_again(bucket: Bucket) -> None:
    root = bucket.fill("changing", {"a/1.png": encoded(1)})
    (before,) = inspect_all(read_images(root)).hashes
    bucket.files.pipe("changing/a/1.png", encoded(2))
    (after,) = inspect_all(read_images(root)).hashes
    assert before != after


def test_archives_and_parquet_in_a_bucket(bucket: Bucket, load_module: Callable[[Path], Any], tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    archives = load_module(Path(__file__).parent / "test_archives.py")
    shards = {}
    for split in ("train", "val"):
        members = {name.partition("/")[2]: data for name, data in TREE.items() if name.startswith(split)}
        shards[f"{split}-000.tar"] = archives.write_tar(tmp_path / f"{split}.tar", members).read_bytes()
    table = pa.table({"image": list(TREE.values()), "label": [name.split("/")[1] for name in TREE]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    root = bucket.fill("shards", shards)
    expected = sorted(map(str, inspect_all(read_images(bucket.fill("same", TREE))).hashes))
    for place in (root, f"{root}/{{train,val}}-000.tar"):
        manifest = read_images(place)
        assert manifest.uris[0].startswith("tar:s3://shards/train-000.tar!")
        assert sorted(map(str, inspect_all(manifest).hashes)) == expected
        assert set(manifest.splits) == {"train", "validation"}
    single = read_images(bucket.fill("tables", {"a.parquet": (tmp_path / "a.parquet").read_bytes()}))
    assert single.uris[3] == "parquet:s3://tables/a.parquet!3"
    assert sorted(map(str, inspect_all(single).hashes)) == expected
    assert single.classes == ("cats", "dogs")


def test_a_table_here_may_have_the_urls_of_images(bucket: Bucket, tmp_path: Path) -> None:
    root = bucket.fill("named", TREE)
    lines = [f"{root}/{name},{name.split('/')[1]}" for name in TREE]
    (tmp_path / "labels.csv").write_text("\n".join(["url,label", *lines, f"{root}/gone.png,cats"]))
    manifest = read_images(tmp_path / "labels.csv")
    assert (len(manifest), manifest.classes) == (len(TREE) + 1, ("cats", "dogs"))
    assert [problem for problem in inspect_all(manifest).problems if problem] == ["no such file"]


def test_files_of_http_are_read(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Handler(SimpleHTTPRequestHandler):
        failures = 2

        def do_GET(self) -> None:
            if self.path.endswith("2.png") and Handler.failures:
                Handler.failures -= 1
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encoded(number))
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=http.serve_forever, daemon=True).start()
    try:
        root = f"http://127.0.0.1:{http.server_address[1]}"
        manifest = inspect_all(read_images([f"{root}/{number}.png" for number in range(3)]))
        assert manifest.problems == [None] * 3  # the second one after two failures of the server
        assert Handler.failures == 0
        assert len(read_images(f"{root}/")) == 3
    finally:
        http.shutdown()
        http.server_close()


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket) -> None:
    with pytest.raises(DataError, match=r"^s3://nowhere/photos: no such folder or file$"):
        read_images("s3://nowhere/photos")


def test_a_missing_package_is_named_with_what_installs_it() -> None:
    with pytest.raises(DataError, match=r"^abfs:// needs a package .*: run pip install adlfs$"):
        read_images("abfs://container/photos")


def test_the_cache_removes_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 1000)
    for number in range(20):
        cache.put(str(number), bytes(100))
        path = cache.path(str(number))
        os.utime(path, (number + 1, number + 1))
    cache.get("15")  # used last
    cache.sweep()
    kept = {number for number in range(20) if cache.get(str(number)) is not None}
    assert 15 in kept
    assert len(kept) * 100 <= 1000
    assert min(kept) >= 10
    cache.put("large", bytes(2000))
    assert cache.get("large") is None


@pytest.mark.parametrize("value", ["much", "-1", "nan"])
def test_the_size_of_the_cache_must_be_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(LIMIT, value)
    with pytest.raises(SettingsError, match="HEADSTART_REMOTE_CACHE must be"):
        cache_limit()


def test_an_archive_larger_than_the_cache_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    root = bucket.fill("large", {"a.tar": bytes(20_000)})
    monkeypatch.setenv(LIMIT, "0.00001")
    with pytest.raises(DataError, match="more than the cache of remote files may: set HEADSTART_REMOTE_CACHE"):
        read_images(root)


def test_an_image_that_is_too_large_is_not_fetched() -> None:
    source = remote.RemoteImage("s3", Stamp(2 << 30, 0, 1, 1))
    with pytest.raises(ImageProblem, match="are more than the 1,073,741,824 allowed for an image"):
        source.open("s3://bucket/large.tif")
