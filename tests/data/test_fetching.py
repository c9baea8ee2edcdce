from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from headstart.data import fetching
from headstart.data.fetching import download, sha256_of
from headstart.errors import DataError

CONTENT = os.urandom(300_000)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_WAIT", 0.01)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("version", ['"one"', None])
def test_a_file_is_fetched(server: Any, tmp_path: Path, version: str | None) -> None:
    server.files["/a.bin"] = CONTENT
    server.versions |= {"/a.bin": version} if version else {}
    path = download(server.address + "a.bin", tmp_path / "new" / "a.bin")
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["a.bin"]
    assert sha256_of(path) == hashlib.sha256(CONTENT).hexdigest()
    assert server.asked == [("/a.bin", None)]


def test_a_connection_that_breaks_is_made_again_from_there(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"], server.versions["/a.bin"] = CONTENT, '"one"'
    server.break_after = [100_000, 50_000]
    assert download(server.address + "a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked == [("/a.bin", None), ("/a.bin", "bytes=100000-"), ("/a.bin", "bytes=150000-")]


def test_a_later_call_goes_on_with_the_same_version_only(server: Any, tmp_path: Path) -> None:
    url, path = server.address + "a.bin", tmp_path / "a.bin"
    server.files["/a.bin"], server.versions["/a.bin"] = CONTENT, '"one"'
    server.break_after = [100_000] + [0] * 8
    with pytest.raises(DataError) as caught:
        download(url, path)
    assert str(caught.value) == f"{url}: the connection broke"
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.version"]
    server.break_after, other = [], CONTENT[::-1]
    server.files["/a.bin"], server.versions["/a.bin"] = other, '"two"'
    assert download(url, path).read_bytes() == other
    assert names(tmp_path) == ["a.bin"]


def test_without_a_version_it_starts_again(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.break_after = [100_000]
    assert download(server.address + "a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked == [("/a.bin", None)] * 2


def test_a_part_that_is_longer_than_the_file_is_begun_again(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"], server.versions["/a.bin"] = CONTENT, '"one"'
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.bin.part.version").write_text('"one"')
    assert download(server.address + "a.bin", tmp_path / "a.bin").read_bytes() == CONTENT


def test_another_content_than_is_wanted(server: Any, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    url, digest = server.address + "a.bin", hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(DataError) as caught:
        download(url, tmp_path / "a.bin", sha256="0" * 64)
    assert str(caught.value) == (
        f"{url}: gives another file than is wanted, SHA-256 {digest} instead of {'0' * 64}; it was removed"
    )
    assert names(tmp_path) == []
    download(url, tmp_path / "a.bin", sha256=digest)


def test_what_is_not_there_and_who_does_not_answer(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download(server.address + "b.bin", tmp_path / "b.bin")
    assert str(caught.value) == f"{server.address}b.bin: the server answers 404 Not Found"
    assert len(server.asked) == 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/b.bin"
    with pytest.raises(DataError, match=rf"^{url}: it cannot be reached: .*refused"):
        download(url, tmp_path / "b.bin")
    assert names(tmp_path) == []
