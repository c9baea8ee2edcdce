"""Downloads from a real server on this machine: complete, interrupted, resumed, wrong."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.data import download as module
from headstart.data.download import (
    RemoteFile,
    download,
    fetch,
    fetch_from_hub,
    fetch_from_kaggle,
    hub_is_reachable,
    verify,
)
from headstart.errors import DataError, DownloadError

DATA = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT", 0.001)


def published(data: bytes = DATA, **more: Any) -> RemoteFile:
    return RemoteFile("a.tar.gz", len(data), hashlib.sha256(data).hexdigest(), **more)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fails(url: str, path: Path, published: RemoteFile | None = None, kind: type[Exception] = DownloadError) -> str:
    with pytest.raises(kind) as caught:
        download(url, path, published=published)
    return str(caught.value)


def test_a_complete_file(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA
    path = tmp_path / "a.tar.gz"
    assert download(f"{server.url}/a.tar.gz", path, published=published()) == path
    assert path.read_bytes() == DATA
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar.gz"]


def test_broken_connections_are_resumed(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA
    server.breaks = [1_000_000, 500_000, 1]
    path = download(f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", published=published())
    assert path.read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500001-"]


def test_partial_data_are_kept_for_the_next_call(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA
    server.breaks = [2_000_000, 0, 0, 0, 0, 0]
    url, path, part = f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", tmp_path / "a.tar.gz.part"
    assert fails(url, path, published()) == f"{url}: the connection broke; the 2.0 MB received are kept in {part}"
    assert not path.exists()
    assert part.read_bytes() == DATA[:2_000_000]
    server.requests.clear()
    download(url, path, published=published())
    assert server.requests == [("GET /a.tar.gz", "bytes=2000000-")]
    assert path.read_bytes() == DATA
    assert not part.exists()


def test_without_ranges_the_download_starts_over(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA
    server.with_ranges = False
    (tmp_path / "a.tar.gz.part").write_bytes(b"x" * 1_000)
    download(f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", published=published())
    assert (tmp_path / "a.tar.gz").read_bytes() == DATA


def test_a_wrong_checksum_is_refused_and_the_file_removed(server: Any, tmp_path: Path) -> None:
    other = bytes(len(DATA))
    server.files["/a.tar.gz"] = other
    url, path = f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz"
    text = fails(url, path, published())
    assert f"its SHA-256 is {hashlib.sha256(other).hexdigest()}, expected {hashlib.sha256(DATA).hexdigest()}" in text
    assert text.endswith("; it was removed")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_file_fails_the_checksum(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA
    (tmp_path / "a.tar.gz.part").write_bytes(b"x" * 1_000)
    url, path = f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz"
    assert "its SHA-256 is" in fails(url, path, published())
    assert download(url, path, published=published()).read_bytes() == DATA


def test_another_size_is_refused_before_the_download(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA[:-1]
    text = fails(f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", published())
    assert text == f"{server.url}/a.tar.gz: the server has 2,999,999 bytes, but 3,000,000 are published"
    assert list(tmp_path.iterdir()) == []
    server.files["/a.tar.gz"] = DATA * 2
    server.with_length = False
    text = fails(f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", published())
    assert text == f"{server.url}/a.tar.gz: the server sends more than the 3,000,000 bytes published"
    # A part that is too long cannot be resumed: the next call removes it.
    assert "as published has 3,000,000; it was removed" in fails(
        f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", published()
    )


def test_errors_of_the_server(server: Any, tmp_path: Path) -> None:
    url, path = f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz"
    assert fails(url, path, published()) == f"{url}: the server answers 404 Not Found"
    assert len(server.requests) == 1
    server.files["/a.tar.gz"] = DATA
    server.codes = [503, 429, 200]
    assert download(url, path, published=published()).read_bytes() == DATA
    path.unlink()
    server.codes = [503] * 5
    assert fails(url, path, published()) == f"{url}: the server answers 503 Service Unavailable"


def test_unreachable_servers(server: Any, tmp_path: Path) -> None:
    server.stop()
    assert "refused" in fails(f"{server.url}/a", tmp_path / "a", published()).lower()
    text = fails("http://no-such-host.invalid/a", tmp_path / "a", published())
    assert text == "http://no-such-host.invalid/a: cannot be reached (unknown host)"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full disk for tests")
def test_a_full_disk(server: Any, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = DATA
    (tmp_path / "a.tar.gz.part").symlink_to("/dev/full")
    text = fails(f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz", published(), kind=DataError)
    assert "the disk is full: free some space; the same command then resumes" in text


# -- without a published checksum --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_versions", [True, False])
def test_a_file_without_a_checksum(server: Any, tmp_path: Path, with_versions: bool) -> None:
    server.files["/a.bin"], server.with_versions = DATA, with_versions
    path = download(f"{server.url}/a.bin", tmp_path / "new" / "a.bin")
    assert path.read_bytes() == DATA
    assert names(tmp_path / "new") == ["a.bin"]
    assert server.requests == [("GET /a.bin", None)]


def test_without_a_length_the_end_of_the_answer_is_the_end(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"], server.with_length = DATA, False
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == DATA


def test_the_same_version_is_resumed(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    server.breaks = [100_000, 50_000]
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=150000-"]


def test_another_version_starts_over(server: Any, tmp_path: Path) -> None:
    url, path, part = f"{server.url}/a.bin", tmp_path / "a.bin", tmp_path / "a.bin.part"
    server.files["/a.bin"] = DATA
    server.breaks = [100_000] + [0] * 8
    assert fails(url, path) == f"{url}: the connection broke; the 0.1 MB received are kept in {part}"
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.version"]
    server.breaks, server.files["/a.bin"] = [], DATA[::-1]
    assert download(url, path).read_bytes() == DATA[::-1]
    assert server.requests[-1] == ("GET /a.bin", "bytes=100000-")
    assert names(tmp_path) == ["a.bin"]


def test_without_a_version_the_download_starts_over(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"], server.with_versions = DATA, False
    server.breaks = [100_000]
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == DATA
    assert server.requests == [("GET /a.bin", None)] * 2


def test_a_part_longer_than_the_file_starts_over(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    (tmp_path / "a.bin.part").write_bytes(DATA + b"more")
    (tmp_path / "a.bin.part.version").write_text(f'"{hashlib.sha256(DATA).hexdigest()}"')
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [f"bytes={len(DATA) + 4}-", None]


def test_verify(tmp_path: Path) -> None:
    path = tmp_path / "mine.tar.gz"
    path.write_bytes(DATA)
    assert verify(path, published()) == path
    path.write_bytes(DATA[:5])
    with pytest.raises(DownloadError) as caught:
        verify(path, published())
    assert str(caught.value) == f"{path} has 5 bytes, but a.tar.gz as published has 3,000,000"
    assert path.exists()


def test_urls_are_tried_in_order(server: Any, tmp_path: Path) -> None:
    server.files["/good/a.tar.gz"] = DATA
    wrong, good = f"{server.url}/gone/a.tar.gz", f"{server.url}/good/a.tar.gz"
    assert fetch(published(urls=(wrong, good)), tmp_path / "new").read_bytes() == DATA
    server.requests.clear()
    fetch(published(urls=(wrong, good)), tmp_path / "new")
    assert server.requests == []  # it is complete already
    (tmp_path / "new" / "a.tar.gz").write_bytes(b"cut")
    assert fetch(published(urls=(good,)), tmp_path / "new").read_bytes() == DATA
    with pytest.raises(DownloadError) as caught:
        fetch(published(urls=(wrong, wrong)), tmp_path / "other")
    assert str(caught.value) == "\n  ".join(
        ["a.tar.gz could not be downloaded:", *[f"{wrong}: the server answers 404 Not Found"] * 2]
    )


@pytest.fixture
def hub(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The hub's own client, with the server of this test as the hub."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield server
    if hasattr(huggingface_hub, "close_session"):
        huggingface_hub.close_session()


def test_the_hub(hub: Any, tmp_path: Path) -> None:
    there = "/datasets/me/set/resolve/main/a.tar.gz"
    hub.files[there] = DATA
    assert hub_is_reachable()
    assert fetch(published(hub="me/set"), tmp_path).read_bytes() == DATA
    assert hub.requests[-1][0] == f"GET {there}"


def test_the_hub_s_client_resumes_broken_connections(hub: Any, tmp_path: Path) -> None:
    """The client downloads chunks of 10 MiB."""
    data = DATA * 8
    hub.files["/datasets/me/set/resolve/main/a.tar.gz"] = data
    hub.breaks = [20_000_000]
    assert fetch(published(data, hub="me/set"), tmp_path).read_bytes() == data
    assert str(hub.requests[-1][1]).startswith("bytes=")


def test_the_hub_has_another_file_or_none(hub: Any, tmp_path: Path) -> None:
    hub.files["/datasets/me/set/resolve/main/a.tar.gz"] = bytes(len(DATA))
    with pytest.raises(DownloadError, match="its SHA-256 is"):
        fetch_from_hub(published(hub="me/set"), tmp_path)
    assert not (tmp_path / "a.tar.gz").exists()
    with pytest.raises(DownloadError, match=r"^me/gone on the Hugging Face hub: \w+: "):
        fetch_from_hub(published(hub="me/gone"), tmp_path)
    hub.files["/mirror"] = DATA
    assert fetch(published(hub="me/gone", urls=(f"{hub.url}/mirror",)), tmp_path).read_bytes() == DATA


def test_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://no-such-host.invalid")
    monkeypatch.setattr(module, "getproxies", dict)
    with pytest.raises(DownloadError) as caught:
        fetch_from_hub(published(hub="me/set"), tmp_path)
    assert str(caught.value) == "me/set on the Hugging Face hub: the hub cannot be reached (unknown host)"


def test_without_kaggle_s_client_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # as if it were not installed
    with pytest.raises(DownloadError) as caught:
        fetch_from_kaggle("dog-breed-identification")
    assert str(caught.value) == (
        "dog-breed-identification is published on Kaggle, whose client is not installed: pip install "
        '"headstart[kaggle]"; or download the zip from https://www.kaggle.com/c/dog-breed-identification/data '
        "and pass it with --zip FILE"
    )


@pytest.mark.skipif(not importlib.util.find_spec("kagglehub"), reason="kagglehub (the extra kaggle) is not installed")
@pytest.mark.filterwarnings("default")  # of another package's imports
def test_kaggle_s_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the client returns what it has cached, and refuses the rest."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match=r"^Kaggle refuses dogs: no credentials are set: .*--zip FILE$"):
        fetch_from_kaggle("dogs")
    (tmp_path / "competitions" / "dogs").mkdir(parents=True)
    (tmp_path / "competitions" / "dogs.complete").touch()
    assert fetch_from_kaggle("dogs") == tmp_path / "competitions" / "dogs"
