from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from headstart.errors import ModelError
from headstart.models.keras.archives import read_folder, read_tar, read_zip


def everything(_: str) -> bool:
    return True


def refused(reader: object, path: Path, **more: int) -> str:
    with pytest.raises(ModelError) as raised:
        reader(path, everything, **more)  # type: ignore[operator]
    return str(raised.value)


def test_wanted_members_are_read(made: ModuleType, tmp_path: Path) -> None:
    path = made.write_keras(tmp_path / "a.zip", {"a": b"one", "b/c": b"two"})
    assert read_zip(path, lambda name: name == "b/c") == {"b/c": b"two"}
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"one")
    (folder / "below").mkdir()
    assert read_folder(folder, everything) == {"a": b"one"}
    for mode in ("w", "w:gz"):
        assert read_tar(made.write_tar(tmp_path / "a.tar", folder, mode=mode), everything) == {"./a": b"one"}


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd", "..\\outside"])
def test_paths_that_lead_outside(made: ModuleType, tmp_path: Path, name: str) -> None:
    text = f"its member {name} leads outside of the archive, which is not followed"
    assert refused(read_zip, made.write_keras(tmp_path / "a.keras", {name: b""})) == text
    (tmp_path / "folder").mkdir()
    assert refused(read_tar, made.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder", tarfile.TarInfo(name))) == text


def test_links(made: ModuleType, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert refused(read_zip, tmp_path / "a.keras") == "its member config.json is a link, which is not followed"
    (tmp_path / "folder").mkdir()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE):
        member = tarfile.TarInfo("odd")
        member.type, member.linkname = kind, "/etc/passwd"
        path = made.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder", member)
        assert refused(read_tar, path) == "its member odd is a link or no plain file, which is not followed"


def test_bombs(made: ModuleType, tmp_path: Path) -> None:
    text = "holds more than the 1 MiB that are read, which no MobileNetV2 needs"
    zeros = bytes(2 << 20)
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", zeros)
    assert refused(read_zip, tmp_path / "a.keras", limit=1 << 20) == text
    folder = tmp_path / "folder"
    folder.mkdir()
    large = tarfile.TarInfo("large")
    large.size = len(zeros)
    path = made.write_tar(tmp_path / "a.tar.gz", folder, large)
    assert path.stat().st_size < 20_000
    assert refused(read_tar, path, limit=1 << 20) == text
    (folder / "a").write_bytes(zeros)
    assert refused(read_folder, folder, limit=1 << 20) == text


def test_a_header_of_a_tar_may_be_the_bomb(made: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 2 << 20
    path = made.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder", header)
    assert refused(read_tar, path, limit=1 << 20).startswith("holds more than the 1 MiB that are read")


def test_a_member_that_says_it_is_smaller(made: ModuleType, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
    content = (tmp_path / "a.keras").read_bytes()
    (tmp_path / "a.keras").write_bytes(content.replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert refused(read_zip, tmp_path / "a.keras").startswith("not a zip archive, or damaged (Bad CRC-32")


@pytest.mark.parametrize("keep", [0, 10, 100, 900])
def test_damaged_archives(made: ModuleType, tmp_path: Path, keep: int) -> None:
    noise = os.urandom(2000)
    path = made.write_keras(tmp_path / "a.keras", {"a": noise})
    path.write_bytes(path.read_bytes()[:keep])
    assert refused(read_zip, path).startswith("not a zip archive, or damaged (")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(noise)
    path = made.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder")
    path.write_bytes(path.read_bytes()[:keep])
    assert refused(read_tar, path).startswith("not a tar archive, or damaged (")
