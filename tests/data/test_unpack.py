"""Valid archives, and archives that must be refused."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.unpack import Limits, check_free_space, escapes_root, unpack, unpacked_size
from headstart.errors import DataError

Contents = dict[str, bytes]
CONTENTS = {"top/0/a.jpeg": os.urandom(300_000), "top/0/b.jpeg": b"", "top/10/a.jpeg": b"10", "readme": b"me"}


def make_zip(path: Path, contents: Contents = CONTENTS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, contents: Contents = CONTENTS, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


MAKERS = pytest.mark.parametrize("make", [make_zip, make_tar])


def refused(archive: Path, **limits: int) -> str:
    """The error text, after checking that nothing was left behind."""
    into = archive.parent / "into"
    before = {path.name for path in archive.parent.iterdir()}
    with pytest.raises(DataError) as caught:
        unpack(archive, into, limits=Limits(**limits))
    assert {path.name for path in archive.parent.iterdir()} == before
    text = str(caught.value)
    assert text.startswith(f"{archive}")
    return text.removeprefix(f"{archive}").removeprefix(": ").removeprefix(" ")


def contents_of(folder: Path) -> Contents:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])  # the name does not matter: ImageNetV2's .tar.gz are plain tars
@pytest.mark.parametrize("kind", ["zip", "w", "w:gz"])
def test_all_contents_are_unpacked(tmp_path: Path, kind: str, name: str) -> None:
    archive = make_zip(tmp_path / name) if kind == "zip" else make_tar(tmp_path / name, mode=kind)
    into = tmp_path / "deep" / "into"
    assert unpack(archive, into) == into
    assert contents_of(into) == CONTENTS
    assert [path.name for path in into.parent.iterdir()] == ["into"]


def test_folders_and_modes(tmp_path: Path) -> None:
    folder, file = tarfile.TarInfo("./empty"), tarfile.TarInfo("./run")
    folder.type, file.mode, file.uid = tarfile.DIRTYPE, 0o4777, 0
    into = unpack(make_tar(tmp_path / "a.tar", {}, folder, file), tmp_path / "into")
    assert (into / "empty").is_dir()
    assert not (into / "run").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)
    made = make_zip(tmp_path / "a.zip", {"empty/": b"", "a\\b.jpg": b"as older systems wrote it"})
    assert contents_of(unpack(made, tmp_path / "other")) == {"a/b.jpg": b"as older systems wrote it"}
    assert (tmp_path / "other" / "empty").is_dir()


def test_long_and_non_ascii_names(tmp_path: Path) -> None:
    contents = {f"{'n' * 150}/{'m' * 150}/개 🐕.jpg": b"1"}
    assert contents_of(unpack(make_zip(tmp_path / "z", contents), tmp_path / "a")) == contents
    assert contents_of(unpack(make_tar(tmp_path / "t", contents), tmp_path / "b")) == contents


@MAKERS
@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/tmp/outside", "..\\outside", "C:\\outside"])
def test_paths_outside_the_folder(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    text = refused(make(folder / "a", {"good": b"1", name: b"2"}))
    assert text == f"its member {name!r} is a path outside the folder; the archive is refused"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "C:", "b c", "\0"]), max_size=6), st.sampled_from("/\\")
)
def test_no_accepted_name_escapes_the_folder(parts: list[str], separator: str) -> None:
    name = separator.join(parts)
    if not escapes_root(name):
        root = "/data/into"
        ended = os.path.normpath(os.path.join(root, name.replace("\\", "/")))  # noqa: PTH118
        assert ended == root or ended.startswith(root + "/")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("top/odd")
    member.type, member.linkname = kind, "../../outside"
    text = refused(make_tar(tmp_path / "a.tar.gz", CONTENTS, member))
    assert text == "its member 'top/odd' is a link or not a regular file; the archive is refused"


def test_sparse_files(tmp_path: Path) -> None:
    member = tarfile.TarInfo("odd")
    member.type = tarfile.GNUTYPE_SPARSE
    assert "is a link or not a regular file" in refused(make_tar(tmp_path / "a.tar.gz", CONTENTS, member))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip(tmp_path: Path, kind: int) -> None:
    odd = zipfile.ZipInfo("odd")
    odd.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(odd, "/etc/passwd")
    assert refused(tmp_path / "a.zip") == "its member 'odd' is a link or not a regular file; the archive is refused"


def test_duplicate_names(tmp_path: Path) -> None:
    text = "it has two members 'top/0/a.jpeg'; the archive is refused"
    assert refused(make_tar(tmp_path / "a.tar", CONTENTS, tarfile.TarInfo("./top//0/a.jpeg"))) == text
    data = make_zip(tmp_path / "a.zip", {"top/0/a.jpeg": b"1", "top/0/b.jpeg": b"2"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"b.jpeg", b"a.jpeg"))
    assert refused(tmp_path / "a.zip") == text


@MAKERS
def test_a_file_with_the_name_of_a_folder(tmp_path: Path, make: Callable[..., Path]) -> None:
    assert refused(make(tmp_path / "a", {"a": b"1", "a/b": b"2"})).startswith("cannot be unpacked: ")


@MAKERS
def test_bombs(tmp_path: Path, make: Callable[..., Path]) -> None:
    zeros = make(tmp_path / "zeros", {"a": bytes(80 << 20)})
    assert zeros.stat().st_size < 200_000
    assert refused(zeros) == "unpacks to more than 67 MB, and is refused as a decompression bomb"
    assert contents_of(unpack(zeros, tmp_path / "out", limits=Limits(ratio=2_000))) == {"a": bytes(80 << 20)}
    assert (
        refused(zeros, ratio=2_000, bytes=50_000_000)
        == "unpacks to more than 50 MB, and is refused as a decompression bomb"
    )
    many = make(tmp_path / "many", {str(number): b"" for number in range(20)})
    assert refused(many, members=19) == "contains more than 19 files, and is refused as a decompression bomb"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_can_be_a_bomb(tmp_path: Path, kind: bytes) -> None:
    """Headers are read into memory at once; this one would take 60 MB."""
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 60 << 20
    text = refused(make_tar(tmp_path / "a.tar.gz", CONTENTS, header))
    assert text == "has a header of more than 1 MiB, and is refused as a decompression bomb"


def test_sizes_in_headers_are_not_trusted(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": bytes(1 << 20)})
    small = path.read_bytes().replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(small)
    assert "is damaged (Bad CRC-32" in refused(path)


@pytest.mark.parametrize("keep", [0, 1, 10, 600, 5_000, 250_000, 300_200])
@pytest.mark.parametrize("kind", ["zip", "w", "w:gz"])
def test_truncated_archives(tmp_path: Path, kind: str, keep: int) -> None:
    path = make_zip(tmp_path / "a") if kind == "zip" else make_tar(tmp_path / "a", mode=kind)
    path.write_bytes(path.read_bytes()[:keep])
    assert refused(path)


def test_a_tar_truncated_between_two_files_is_not_complete(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "whole.tar", {"a": b"1", "b": b"2"}, mode="w").read_bytes()
    for size in (1024, 1024 + 100, 2048):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        assert refused(tmp_path / "cut.tar") == "ends too early, or is damaged: download it again"
    (tmp_path / "cut.tar").write_bytes(whole[:1024] + b"\1" * 512 + whole[1536:])
    assert refused(tmp_path / "cut.tar") == "ends too early, or is damaged: download it again"
    (tmp_path / "whole.gz").write_bytes(gzip.compress(whole)[:-1])
    assert refused(tmp_path / "whole.gz")
    wrong = bytearray(gzip.compress(whole))
    wrong[-6] ^= 1
    (tmp_path / "whole.gz").write_bytes(wrong)
    assert "CRC check failed" in refused(tmp_path / "whole.gz")


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": b"1"})
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + flags] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)


def test_a_missing_archive_and_an_existing_target(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == "no such archive"
    assert "Is a directory" in refused(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="there exists already: unpack into a new folder"):
        unpack(make_zip(tmp_path / "a.zip"), tmp_path / "there")


def test_free_space(tmp_path: Path) -> None:
    check_free_space(tmp_path / "not" / "yet", 1, "for this")
    with pytest.raises(DataError) as caught:
        check_free_space(tmp_path / "not" / "yet", 10**18, "to unpack it")
    assert str(caught.value).startswith("1,000,000,000,000 MB are needed to unpack it, but ")
    assert str(caught.value).endswith(f" MB are free at {tmp_path}: free some space, or choose another disk with --out")
    assert unpacked_size(make_zip(tmp_path / "a.zip")) == sum(map(len, CONTENTS.values()))
    assert unpacked_size(make_tar(tmp_path / "a.tar")) == (tmp_path / "a.tar").stat().st_size
    assert unpacked_size(tmp_path / "none") == 0


def test_a_killed_process_leaves_no_folder_of_that_name(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {str(number): os.urandom(100) for number in range(60_000)}, mode="w")
    code = """
import sys
from pathlib import Path
from headstart.data.unpack import unpack
unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    temporary = tmp_path / ".into.unpacking"
    with subprocess.Popen([sys.executable, "-c", code, archive, tmp_path / "into"]) as process:
        while not (temporary.is_dir() and any(temporary.iterdir())):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert not (tmp_path / "into").exists()
    assert temporary.exists()
    small = make_tar(tmp_path / "b.tar", {"only": b"this"})
    assert contents_of(unpack(small, tmp_path / "into")) == {"only": b"this"}
    assert not temporary.exists()


@pytest.mark.parametrize("kind", ["stored.zip", "deflated.zip", "plain.tar", "a.tar.gz"])
def test_any_damage_is_a_data_error(tmp_path: Path, kind: str) -> None:
    """Bits of the headers are flipped: versions, flags, methods, sizes and names that no reader knows."""
    contents, archive = {"top/개.txt": b"text " * 20, "b": b"b"}, tmp_path / kind
    if kind.endswith("zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED) as file:
            for name, data in contents.items():
                file.writestr(name, data)
    else:
        make_tar(archive, contents, mode="w" if "plain" in kind else "w:gz")
    whole, into, unknown = archive.read_bytes(), tmp_path / "into", []
    bits = [(position, bit) for position in range(min(len(whole), 600)) for bit in range(8)]
    for position, bit in random.Random(0).sample(bits, 400):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        archive.write_bytes(damaged)
        try:
            unpack(archive, into)
            shutil.rmtree(into)
        except Exception as failure:
            if not isinstance(failure, DataError) or not str(failure).startswith(str(archive)):
                unknown.append((position, bit, repr(failure)))
        assert not into.exists()
    assert unknown == []
