from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headstart.errors import ModelError
from headstart.models.importers.keras.archives import read_folder, read_tar, read_zip


def everything(_: str) -> bool:
    return True


def rejected(reader: object, path: Path, **more: int) -> str:
    with pytest.raises(ModelError) as raised:
        reader(path, everything, **more)  # type: ignore[operator]
    return str(raised.value)


def test_wanted_members_are_read(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_keras(tmp_path / "a.zip", {"a": b"one", "b/c": b"two"})
    assert read_zip(path, lambda name: name == "b/c") == {"b/c": b"two"}
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"one")
    (folder / "below").mkdir()
    assert read_folder(folder, everything) == {"a": b"one"}
    for mode in ("w", "w:gz"):
        assert read_tar(writer.write_tar(tmp_path / "a.tar", folder, mode=mode), everything) == {"./a": b"one"}


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd", "..\\outside"])
def test_paths_outside_the_archive_are_rejected(writer: ModuleType, tmp_path: Path, name: str) -> None:
    text = f"its member {name} leads outside the archive, which is not allowed"
    assert rejected(read_zip, writer.write_keras(tmp_path / "a.keras", {name: b""})) == text
    (tmp_path / "folder").mkdir()
    assert (
        rejected(read_tar, writer.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder", tarfile.TarInfo(name))) == text
    )


def test_links_are_rejected(writer: ModuleType, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert rejected(read_zip, tmp_path / "a.keras") == "its member config.json is a link, which is not followed"
    (tmp_path / "folder").mkdir()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE):
        member = tarfile.TarInfo("odd")
        member.type, member.linkname = kind, "/etc/passwd"
        path = writer.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder", member)
        assert rejected(read_tar, path) == "its member odd is a link or special file, which is not followed"


def test_size_limit(writer: ModuleType, tmp_path: Path) -> None:
    text = "larger than the limit of 1 MiB, which is ample for MobileNetV2"
    zeros = bytes(2 << 20)
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", zeros)
    assert rejected(read_zip, tmp_path / "a.keras", limit=1 << 20) == text
    folder = tmp_path / "folder"
    folder.mkdir()
    large = tarfile.TarInfo("large")
    large.size = len(zeros)
    path = writer.write_tar(tmp_path / "a.tar.gz", folder, large)
    assert path.stat().st_size < 20_000
    assert rejected(read_tar, path, limit=1 << 20) == text
    (folder / "a").write_bytes(zeros)
    assert rejected(read_folder, folder, limit=1 << 20) == text


def test_size_limit_includes_tar_headers(writer: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 2 << 20
    path = writer.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder", header)
    assert rejected(read_tar, path, limit=1 << 20).startswith("larger than the limit of 1 MiB")


def test_member_with_a_wrong_size(writer: ModuleType, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
    content = (tmp_path / "a.keras").read_bytes()
    (tmp_path / "a.keras").write_bytes(content.replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert rejected(read_zip, tmp_path / "a.keras").startswith("not a zip archive, or damaged (Bad CRC-32")


@pytest.mark.parametrize("keep", [0, 10, 100, 900])
def test_damaged_archives(writer: ModuleType, tmp_path: Path, keep: int) -> None:
    noise = os.urandom(2000)
    path = writer.write_keras(tmp_path / "a.keras", {"a": noise})
    path.write_bytes(path.read_bytes()[:keep])
    assert rejected(read_zip, path).startswith("not a zip archive, or damaged (")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(noise)
    path = writer.write_tar(tmp_path / "a.tar.gz", tmp_path / "folder")
    path.write_bytes(path.read_bytes()[:keep])
    assert rejected(read_tar, path).startswith("not a tar archive, or damaged (")


def test_no_damage_gives_another_error(writer: ModuleType, tmp_path: Path) -> None:
    """Above all in the headers, which hold the names, sizes and methods of the members."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "é").write_bytes(b"some text" * 20)
    zipped = writer.write_keras(tmp_path / "a.keras", {"config.json": b"{}" * 50, "é": b"some text" * 20})
    tars = [writer.write_tar(tmp_path / f"a{mode[2:]}.tar", tmp_path / "folder", mode=mode) for mode in ("w", "w:gz")]
    rng = np.random.default_rng(0)
    for path, reader in [(zipped, read_zip), *((path, read_tar) for path in tars)]:
        data, rejections = path.read_bytes(), 0
        for _ in range(250):
            changed = bytearray(data)
            for position in rng.integers(0, min(len(data), 1024), rng.integers(1, 4)).tolist():
                changed[position] = int(rng.integers(256))
            path.write_bytes(changed)
            try:
                reader(path, everything, limit=1 << 20)
            except ModelError:
                rejections += 1
        assert rejections > 50
