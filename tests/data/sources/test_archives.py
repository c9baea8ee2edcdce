"""Zip archives and tar shards: what is read from them, and that it is what the files are."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.decode import decode, inspect
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources import ImageReference, source_of
from headstart.data.sources.read import read_images
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.errors import AmbiguousFolders, DataError, ImageProblem

Photo = Callable[..., Path]


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(shade).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


def write_zip(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_folder(path: Path, members: Mapping[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


TREE = {
    f"{split}/{'cats' if number % 2 else 'dogs'}/{number}.jpg": jpeg(10 * number + at)
    for at, split in enumerate(("train", "val"))
    for number in range(6)
}


def rows(manifest: Manifest) -> list[tuple[str, str | None, str | None, str | None]]:
    """(name, label, split, hash) of each image, sorted."""
    inspected = inspect_all(manifest)
    names = [uri.rpartition("/")[2] for uri in inspected.uris]
    return sorted(zip(names, inspected.labels, inspected.splits, inspected.hashes, strict=True), key=str)


def lines(place: Path | str, **options: str) -> list[str]:
    description = read_images(place, **options).description  # type: ignore[arg-type]
    assert description is not None
    return description.lines()[1:]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_archive_is_read_as_the_folder_that_it_was_made_of(tmp_path: Path, method: int) -> None:
    archive = write_zip(tmp_path / "photos.zip", TREE | {"__MACOSX/cats/._1.jpg": b"x", "read.me": b""}, method)
    folder = write_folder(tmp_path / "photos", TREE)
    assert rows(read_images(archive)) == rows(read_images(folder))
    assert lines(archive) == [
        "  read as: class folders in a zip archive (split/class)",
        "  splits: train 6, validation 6 (val)",
        "  classes: 2: cats, dogs",
    ]


def test_a_tar_file_is_read_as_the_folder_that_it_was_made_of(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "photos.tar", {f"./{name}": data for name, data in TREE.items()})
    assert rows(read_images(archive)) == rows(read_images(write_folder(tmp_path / "photos", TREE)))


def test_archives_that_are_named_like_splits_are_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for shard in range(2):
            write_tar(tmp_path / f"{split}-{shard:05}-of-00002.tar", {f"cats/{split}{shard}.jpg": jpeg(shard)})
    assert lines(tmp_path)[:2] == [
        "  read as: class folders in 4 tar archives (split/class)",
        "  splits: train 2, test 2",
    ]


def test_archives_of_one_class_each_are_named_by_it(tmp_path: Path) -> None:
    for name in ("n01440764", "n01443537"):
        write_tar(tmp_path / f"{name}.tar", {f"{name}_{number}.JPEG": jpeg(number) for number in range(2)})
    manifest = read_images(tmp_path)
    assert manifest.labels == ["n01440764"] * 2 + ["n01443537"] * 2


def test_a_range_of_shards_is_read(tmp_path: Path) -> None:
    for shard in range(12):
        write_tar(tmp_path / f"a-{shard:03}.tar", {f"cats/{shard}.jpg": jpeg(shard), f"dogs/{shard}.jpg": jpeg(50)})
    manifest = read_images(f"{tmp_path}/a-{{009..011}}.tar")
    assert [uri.rpartition("!")[2] for uri in manifest.uris if "cats" in uri] == [f"cats/{n}.jpg" for n in (10, 11, 9)]
    assert len(read_images(f"{tmp_path}/a-00*.tar")) == 20
    with pytest.raises(DataError, match=r"a-012\.tar: no such file$"):
        read_images(f"{tmp_path}/a-{{011..012}}.tar")


def test_members_are_read_by_threads_and_processes_alike(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "photos.zip", TREE, zipfile.ZIP_DEFLATED)
    manifest = inspect_all(read_images(archive), workers=2)
    options = {"batch_size": 4, "max_pixels": 10_000, "workers": 2}
    spec = InputSpec(height=16, width=16)
    folder = inspect_all(read_images(write_folder(tmp_path / "photos", TREE)))
    expected = np.concatenate([each.images for each in read_views(folder, range(12), spec, **options)])  # type: ignore[arg-type]
    for kind in ("threads", "processes"):
        views = list(read_views(manifest, range(12), spec, kind=kind, **options))  # type: ignore[arg-type]
        assert np.array_equal(np.concatenate([each.images for each in views]), expected)


def test_samples_of_webdataset_have_their_class_beside_them(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        members: dict[str, bytes] = {}
        for number in range(count):
            members[f"{split}{number}.jpg"] = jpeg(number)
            members[f"{split}{number}.cls"] = f"{number % 2}\n".encode()
        write_tar(tmp_path / "shards" / f"{split}-000000.tar", members)
    assert lines(tmp_path / "shards") == [
        "  read as: WebDataset in 2 tar files, label column 'cls'",
        "  splits: train 4, validation 2 (val)",
        "  classes: 2: 0, 1",
    ]


def test_class_names_of_webdataset_are_taken_from_json(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number in range(4):
        name = ("cat", "dog")[number % 2]
        members[f"{number}.json"] = json.dumps({"label": number % 2, "class_name": name, "size": [1, 2]}).encode()
        members[f"{number}.jpg"] = jpeg(number)
    archive = write_tar(tmp_path / "a.tar", members)
    assert read_images(archive).labels == ["cat", "dog", "cat", "dog"]
    assert lines(archive)[0] == "  read as: WebDataset in 1 tar file, label column 'class_name'"
    assert read_images(archive, label_column="label").labels == ["0", "1", "0", "1"]
    assert read_images(archive, labels=False).labels == [None] * 4


def test_webdataset_with_two_fields_that_may_be_labels_is_refused(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number in range(4):
        members[f"{number}.json"] = json.dumps({"label": number % 2, "species": f"s{number // 2}"}).encode()
        members[f"{number}.jpg"] = jpeg(number)
    with pytest.raises(DataError, match=r"'label' or 'species' .* choose with --label-column"):
        read_images(write_tar(tmp_path / "a.tar", members))


def test_a_sample_with_two_images_is_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"1.jpg": jpeg(1), "1.seg.png": jpeg(2), "1.cls": b"0"})
    with pytest.raises(DataError, match=r"'1' has the images 1\.jpg and 1\.seg\.png"):
        read_images(archive)


def test_files_of_splits_beside_others_are_refused_until_it_is_said_what_they_are(tmp_path: Path) -> None:
    for name in ("train-0", "extra-0"):
        write_tar(tmp_path / f"{name}.tar", {"1.jpg": jpeg(1), "1.cls": b"0"})
    with pytest.raises(AmbiguousFolders, match=r"--split-folders train=train,extra=none"):
        read_images(tmp_path)
    assert len(read_images(tmp_path, split_folders="train=train,extra=none")) == 1


def test_damage_in_an_archive_is_a_problem_of_the_image(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"cats/1.jpg": jpeg(1), "cats/2.jpg": jpeg(2)})
    data = bytearray(archive.read_bytes())
    data[data.index(jpeg(1)) + 300] ^= 1
    archive.write_bytes(data)
    first, second = inspect_all(read_images(archive)).problems
    assert (first, second) == ("damaged in its archive: it differs from its checksum", None)
    packed = write_zip(tmp_path / "b.zip", {"cats/1.jpg": jpeg(1)}, zipfile.ZIP_LZMA)
    (problem,) = inspect_all(read_images(packed)).problems
    assert problem == "packed with lzma, which is not read in archives: unpack the archive"
    with pytest.raises(ImageProblem, match="no such image in the archive"):
        decode(f"zip:{archive}!cats/3.jpg")


def test_a_compressed_tar_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"unpack it \(tar -xf a\.tar\.gz\)"):
        read_images(tmp_path / "a.tar.gz")
    os.rename(tmp_path / "a.tar.gz", tmp_path / "a.tar")  # noqa: PTH104
    with pytest.raises(DataError, match="it is compressed"):
        read_images(tmp_path / "a.tar")


def test_archives_of_two_kinds_in_a_folder_are_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"cats/1.jpg": jpeg(1)})
    write_tar(tmp_path / "b.tar", {"cats/1.jpg": jpeg(1)})
    with pytest.raises(DataError, match=r"several kinds \(b\.tar, a\.zip\)"):
        read_images(tmp_path)


def test_the_stamp_is_that_of_the_archive_with_the_size_of_the_image(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"cats/1.jpg": jpeg(1)})
    uri = f"zip:{archive}!cats/1.jpg"
    image = ImageReference(uri, source_of(uri))
    before = image.stamp()
    assert before is not None
    assert before.size == len(jpeg(1))
    os.utime(archive, ns=(0, before.modified + 1))
    after = image.stamp()
    assert after is not None
    assert after != before
    assert source_of(uri).stamp(f"zip:{archive}!gone.jpg") is None


def test_an_archive_that_changes_is_indexed_anew(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"cats/1.jpg": jpeg(1)})
    uri = f"zip:{archive}!cats/1.jpg"
    first = inspect(uri).hash
    write_zip(archive, {"cats/0.jpg": jpeg(3), "cats/1.jpg": jpeg(2)})
    assert inspect(uri).hash == inspect(jpeg(2)).hash != first


def test_a_list_may_have_archives_and_single_members(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"cats/1.jpg": jpeg(1), "cats/2.jpg": jpeg(2)})
    assert len(read_images([archive, f"zip:{archive}!cats/2.jpg"])) == 2
    assert read_images(f"zip:{archive}!cats/2.jpg").uris == [f"zip:{archive}!cats/2.jpg"]


def test_groups_are_found_in_paths_in_an_archive(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "p1_x.zip", {"cats/p7_1.jpg": jpeg(1), "cats/p8_1.jpg": jpeg(2)})
    assert read_images(archive, group_pattern="/(p[0-9]+)_[^/]*$").groups == ["p7", "p8"]


def test_the_order_of_images_does_not_depend_on_the_shards(tmp_path: Path) -> None:
    """Else the folds of a fit, and so its figures, would."""
    members = list(TREE.items())
    for shard in range(3):
        write_tar(tmp_path / "shards" / f"{shard}.tar", dict(members[shard::3]))
    folder = read_images(write_folder(tmp_path / "photos", TREE))
    names = [uri.rpartition("!")[2] for uri in read_images(tmp_path / "shards").uris]
    assert names == [uri.removeprefix(f"{tmp_path}/photos/") for uri in folder.uris]
