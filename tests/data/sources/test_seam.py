"""Image sources: the built-in ones, and one of a third party from listing to views in other processes."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from headstart.data.decode import decode, header_size, inspect
from headstart.data.inspection import inspect_all
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.sources import ImageReference, Stamp, base, image_uri, reference, register_source, source_of
from headstart.data.sources.read import read_images
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.errors import DataError, ImageProblem
from headstart.events import Event, Events, StageBegun

HERE = Path(__file__).parent
SPEC = InputSpec(height=16, width=16)
Photo = Callable[..., Path]


@pytest.fixture
def zip_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The source of zip_images.py, registered by the import of its module as in a user's program."""
    monkeypatch.setattr(base, "_SOURCES", dict(base._SOURCES))
    monkeypatch.syspath_prepend(HERE)  # which worker processes inherit
    importlib.import_module("zip_images")
    yield
    del sys.modules["zip_images"]


@pytest.fixture
def archive(photo: Photo, tmp_path: Path) -> str:
    """The root URI of a zip with nine images in two classes, and an empty file."""
    files = [photo(f"photos/{'cats' if i % 2 else 'dogs'}/{i}.jpg", 20 * i, (i + 10, 9)) for i in range(9)]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for path in files:
            file.write(path, path.relative_to(tmp_path / "photos"))
        file.writestr("cats/empty.jpg", b"")
    return f"zip:{tmp_path}/photos.zip"


class CountImages(Events):
    """Counts the images that are inspected."""

    def __init__(self) -> None:
        super().__init__(self.receive)
        self.images = 0

    def receive(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            self.images += event.total


def test_a_source_is_a_file_of_under_thirty_lines() -> None:
    assert len((HERE / "zip_images.py").read_text().splitlines()) < 30


@pytest.mark.usefixtures("zip_images")
def test_a_third_party_source_end_to_end(archive: str, tmp_path: Path) -> None:
    manifest = read_images(archive)
    assert manifest.uris[:2] == [f"{archive}!/cats/1.jpg", f"{archive}!/cats/3.jpg"]
    assert (manifest.classes, len(manifest)) == (("cats", "dogs"), 10)
    inspected = inspect_all(manifest, workers=2)
    assert [problem for problem in inspected.problems if problem] == ["empty file"]
    photo = tmp_path / "photos" / "cats" / "1.jpg"
    assert inspected.hashes[0] == inspect(photo).hash
    assert inspected.table["bytes"][0].as_py() == photo.stat().st_size
    inspected.write(tmp_path / "manifest.parquet")
    usable = Manifest.read(tmp_path / "manifest.parquet").usable
    rows, options = range(len(usable)), {"batch_size": 4, "max_pixels": 10_000, "workers": 2, "views": (0, 1)}
    threads, processes = (
        list(read_views(usable, rows, SPEC, kind=kind, **options))  # type: ignore[arg-type]
        for kind in ("threads", "processes")
    )
    assert [views.problems for views in processes] == [[]] * len(processes)
    assert [row for views in processes for row in views.rows] == [row for row in rows for _ in range(2)]
    for one, other in zip(threads, processes, strict=True):
        assert np.array_equal(one.images, other.images)


@pytest.mark.usefixtures("zip_images")
def test_the_inspection_cache_asks_the_source_for_stamps(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_SETTLED", -(10**12))  # files of this moment count as old
    manifest, events = read_images(archive), CountImages()

    def inspect_again() -> Manifest:
        return inspect_all(manifest, cache=InspectionCache(tmp_path / "cache.parquet"), events=events)

    first = inspect_again()
    assert events.images == 10
    assert inspect_again().table.equals(first.table)
    assert events.images == 11  # the empty file has a problem, and is inspected again
    path = Path(archive.removeprefix("zip:"))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    inspect_again()
    assert events.images == 21


@pytest.mark.usefixtures("zip_images")
def test_third_party_images_in_lists_decode_and_headers(archive: str, photo: Photo) -> None:
    single = photo("single.jpg")
    manifest = read_images([archive, single])
    assert manifest.uris[-1] == str(single)
    assert len(manifest) == 11
    assert decode(f"{archive}!/cats/1.jpg").size == header_size(f"{archive}!/cats/1.jpg") == (11, 9)
    assert image_uri(f"{archive}!/cats/1.jpg") == f"{archive}!/cats/1.jpg"
    description = read_images(archive).description
    assert description is not None
    assert (description.source, description.table, len(description.classes)) == ("zip", None, len(manifest.classes))
    with pytest.raises(DataError) as caught:
        read_images(archive, "labels.csv")
    assert str(caught.value) == f"--labels must be used with a folder or an archive of image files, got {archive}"


@pytest.mark.usefixtures("zip_images")
def test_an_image_that_a_source_fails_on_is_a_problem(archive: str) -> None:
    (inspected,) = inspect_all(Manifest.from_rows([f"{archive}!/gone.jpg"])).problems
    assert inspected == "cannot be read: KeyError: \"There is no item named 'gone.jpg' in the archive\""


def test_a_source_without_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        scheme = "empty"

        def list(self, root: str) -> list[object]:  # noqa: ARG002
            return []

    monkeypatch.setattr(base, "_SOURCES", dict(base._SOURCES))
    register_source(Empty())  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^empty:here has no images$"):
        read_images("empty:here")


def test_references_are_small_and_picklable(photo: Photo) -> None:
    path = photo("a.jpg")
    image = pickle.loads(pickle.dumps(reference(path)))
    assert image == ImageReference(str(path), source_of(str(path)))
    assert (image.read(), image.stamp()) == (path.read_bytes(), Stamp.of_file(path))
    arrays = [np.full((4, 4), shade, np.uint8) for shade in range(200)]
    one = pickle.dumps(Manifest.from_arrays(arrays).source(7))
    assert len(one) < 1000  # with the other arrays it would be larger
    assert np.array_equal(pickle.loads(one).read(), arrays[7])


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(DataError) as caught:
        read_images("ftp://host/photos")
    assert str(caught.value) == (
        "ftp://host/photos: no such folder or file, and no image source is registered for ftp://"
    )


def test_arrays_cannot_be_listed_and_are_gone_with_the_process() -> None:
    with pytest.raises(DataError) as listed:
        read_images("array:7")
    assert str(listed.value) == "array:7 names an array in memory: pass the arrays themselves"
    with pytest.raises(ImageProblem) as gone:
        decode("array:7")
    assert gone.value.reason == "it was in memory only"
    assert reference("array:7").stamp() is None


def test_local_files_are_listed_by_their_source(photo: Photo, tmp_path: Path) -> None:
    path = photo("cats/a.jpg")
    files = source_of(str(tmp_path))
    assert [(each.uri, each.label) for each in files.list(str(tmp_path))] == [(str(path), "cats")]
    assert [each.uri for each in files.list(str(path))] == [str(path)]
    with pytest.raises(DataError, match="no such folder or file"):
        files.list(str(tmp_path / "gone"))
