"""Uploads, archives and folders: what becomes an image, and what is told of the others."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.projects import ImageQuery, Project
from headstart.data.projects.ingest import Ingested, LabelsFrom, UploadedFile, add_folder, add_uploads, check_allowed
from headstart.errors import DataError, OutputError


def png(seed: int, side: int = 16) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    return Project.open(tmp_path / "empty", create=True)


def upload(project: Project, files: dict[str, bytes], labels: LabelsFrom = "none") -> Ingested:
    return add_uploads(
        project, [UploadedFile(name, io.BytesIO(data), len(data)) for name, data in files.items()], labels=labels
    )


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def labels(project: Project) -> dict[str, str | None]:
    classes = {each.id: each.name for each in project.classes()}
    return {each.name: classes.get(each.class_id or 0) for each in project.images(ImageQuery(limit=None)).images}


def test_the_project_keeps_what_was_uploaded_by_its_content(empty: Project) -> None:
    found = upload(empty, {"photos/1.png": png(1)})
    (image,) = empty.by_id(found.ids)
    assert image.name == "photos/1.png"
    assert (image.width, image.height, image.problem) == (16, 16, None)
    path = Path(image.uri)
    assert path.read_bytes() == png(1)
    assert path.relative_to(empty.folder).as_posix() == f"images/{(image.hash or '')[:2]}/{image.hash}.png"


def test_a_project_can_be_moved(empty: Project) -> None:
    found = upload(empty, {"1.png": png(1)})
    empty.close()
    moved = empty.folder.rename(empty.folder.with_name("moved"))
    with Project.open(moved) as project:
        assert Path(project.by_id(found.ids)[0].uri).read_bytes() == png(1)


def test_the_same_content_is_added_once(empty: Project) -> None:
    first = upload(empty, {"a.png": png(1), "b.png": png(1), "c.png": png(2)})
    assert len(first.ids) == 2
    second = upload(empty, {"d.PNG": png(2)})
    assert [(each.name, each.of) for each in (*first.duplicates, *second.duplicates)] == [
        ("b.png", "a.png"),
        ("d.PNG", "c.png"),
    ]
    assert len([path for path in (empty.folder / "images").rglob("*") if path.is_file()]) == 2


def test_the_folder_above_an_image_is_its_class(empty: Project) -> None:
    files = {"p/cat/1.png": png(1), "p/cat/train/2.png": png(2), "dog\\3.png": png(3), "4.png": png(4)}
    found = upload(empty, files, "subfolders")
    assert labels(empty) == {"p/cat/1.png": "cat", "p/cat/train/2.png": "cat", "dog/3.png": "dog", "4.png": None}
    assert (found.classes, found.labeled) == (["cat", "dog"], 3)
    assert {each.kind for each in empty.history()} == {"import"}


def test_a_class_that_differs_in_case_is_the_same_one(empty: Project) -> None:
    empty.add_class("Golden Retriever")
    upload(empty, {"golden_retriever/1.png": png(1)}, "subfolders")
    assert labels(empty) == {"golden_retriever/1.png": "Golden Retriever"}


def test_a_known_image_gets_a_label_but_keeps_the_one_it_has(empty: Project) -> None:
    upload(empty, {"1.png": png(1), "cat/2.png": png(2)}, "subfolders")
    found = upload(empty, {"dog/1.png": png(1), "dog/2.png": png(2)}, "subfolders")
    assert (found.ids, found.labeled, len(found.duplicates)) == ([], 1, 2)
    assert labels(empty) == {"1.png": "dog", "cat/2.png": "cat"}


def test_an_image_that_cannot_be_read_is_a_problem_with_a_reason(empty: Project) -> None:
    found = upload(empty, {"broken.png": png(1)[:-40], "page.jpg": b"<html></html>", "empty.png": b""})
    assert found.problems == [
        ("broken.png", "truncated: the file ends before the image does"),
        ("page.jpg", "not an image that Pillow reads, but a web page"),
        ("empty.png", "empty file"),
    ]
    assert empty.counts().problems == 3
    assert not (empty.folder / "images").exists()


def test_what_is_no_image_is_ignored(empty: Project) -> None:
    found = upload(
        empty, {"notes.txt": b"hello", ".DS_Store": b"x", "__MACOSX/a.png": png(1), "a/.hidden/b.png": png(2)}
    )
    assert (found.ids, found.ignored, found.problems) == ([], 4, [])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/a.png", "etc/a.png"),
        ("/etc/a.png", "etc/a.png"),
        ("C:\\x\\a.png", "C:/x/a.png"),
        ("a\n<b>.png", "a�<b>.png"),
        ("cafe\u0301.png", "caf\xe9.png"),
        ("x" * 5000 + ".png", "x" * 1020 + ".png"),
    ],
)
def test_odd_names_are_shown_and_lead_nowhere(empty: Project, given: str, shown: str) -> None:
    found = upload(empty, {given: png(1)})
    (image,) = empty.by_id(found.ids)
    assert image.name == shown
    assert Path(image.uri).is_relative_to(empty.folder / "images")


def test_images_in_an_archive_are_added(empty: Project) -> None:
    content = zipped({"p/cat/1.png": png(1), "p/dog/2.png": png(2), "p/readme.txt": b"x", "../3.png": png(3)})
    found = upload(empty, {"photos.zip": content}, "subfolders")
    assert labels(empty) == {"p/cat/1.png": "cat", "p/dog/2.png": "dog"}
    assert found.ignored == 2


def test_a_decompression_bomb_is_cut_off(empty: Project) -> None:
    bomb = zipped({f"{number}.png": bytes(20_000_000) for number in range(5)})  # 100 MB in 100 kB
    found = upload(empty, {"bomb.zip": bomb})
    assert ("bomb.zip", "unpacks to more than 67 MB: the rest of the archive is left out") in found.problems
    assert len(empty.images().images) <= 3


@pytest.mark.parametrize("content", [b"PK\x03\x04 and no more", zipped({"1.png": png(1)})[:-30]])
def test_a_damaged_archive_is_a_problem(empty: Project, content: bytes) -> None:
    found = upload(empty, {"photos.zip": content})
    assert [name for name, _ in found.problems] == ["photos.zip"]
    assert "damaged" in found.problems[0][1]


def test_a_damaged_member_does_not_end_the_archive(empty: Project) -> None:
    content = bytearray(zipped({"1.png": png(1), "2.png": png(2)}))
    place = content.index(b"1.png") + 60
    content[place : place + 8] = b"damaged!"
    found = upload(empty, {"photos.zip": bytes(content)})
    assert [name for name, _ in found.problems] == ["1.png"]
    assert [each.name for each in empty.by_id(found.ids) if each.problem is None] == ["2.png"]


def test_a_full_disk_loses_nothing_of_before(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(empty, {"1.png": png(1)})
    (empty.folder / "images" / "block").touch()
    blocked = upload_to_a_file_in_place_of_a_folder(empty)
    with pytest.raises(OutputError, match="what was added before is kept"):
        blocked()
    assert empty.counts().images == 1


def upload_to_a_file_in_place_of_a_folder(project: Project) -> Callable[[], Ingested]:
    """An upload whose folder cannot be made, since there is a file of its name."""
    content = png(7)
    from headstart.data.decode import content_hash

    (project.folder / "images" / content_hash(content)[:2]).touch()
    return lambda: upload(project, {"7.png": content})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of class folders."""
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return tmp_path / "photos"


def test_images_of_a_folder_stay_there(empty: Project, photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = add_folder(empty, photos, advance=lambda done, total: seen.append((done, total)))
    assert labels(empty) == {"cat/1.png": "cat", "cat/2.png": "cat", "dog/1.png": "dog"}
    assert empty.by_id(found.ids)[0].uri == str(photos / "cat" / "1.png")
    assert not (empty.folder / "images").exists()
    assert (seen[0], seen[-1]) == ((0, 3), (3, 3))


def test_a_folder_is_added_again_for_what_is_new(empty: Project, photos: Path) -> None:
    add_folder(empty, photos)
    (photos / "dog" / "9.png").write_bytes(png(9))
    found = add_folder(empty, photos)
    assert [each.name for each in empty.by_id(found.ids)] == ["dog/9.png"]
    assert found.duplicates == []


def test_labels_of_a_table_are_taken(empty: Project, photos: Path) -> None:
    (photos / "labels.csv").write_text("file,label\ncat/1.png,lion\ncat/2.png,lion\ndog/1.png,wolf\n")
    add_folder(empty, photos, labels="table")
    assert set(labels(empty).values()) == {"lion", "wolf"}
    assert {each.source for each in empty.images().images} == {"table"}


def test_labels_are_left_out_if_not_wanted(empty: Project, photos: Path) -> None:
    add_folder(empty, photos, labels="none")
    assert set(labels(empty).values()) == {None}


def test_an_import_that_is_stopped_goes_on_the_next_time(empty: Project, photos: Path) -> None:
    add_folder(empty, photos, stopped=lambda: True)
    assert empty.counts().images == 0
    add_folder(empty, photos)
    assert empty.counts().images == 3


def test_links_that_lead_out_are_told_and_left_out(empty: Project, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "private.png").write_bytes(png(50))
    (photos / "cat" / "link.png").symlink_to(tmp_path / "private.png")
    (photos / "cat" / "inside.png").symlink_to(photos / "dog" / "1.png")
    found = add_folder(empty, photos, allowed=[photos])
    assert found.problems == [
        ("cat/link.png", "a link that leads out of the folders that were named on the command line")
    ]
    assert all("link" not in each.name for each in empty.images().images)
    assert [each.name for each in found.duplicates] == ["dog/1.png"]


def test_only_folders_below_named_ones_are_allowed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    (photos / "out").symlink_to(tmp_path)
    assert check_allowed(photos / "cat", [photos]) == photos.resolve() / "cat"
    assert check_allowed(tmp_path / "link" / "cat", [photos]) == photos.resolve() / "cat"
    for path in (tmp_path, photos / "..", photos / "out", photos / "missing", Path("/"), Path("\0")):
        with pytest.raises(DataError, match="no such folder below those that were named"):
            check_allowed(path, [photos])
    with pytest.raises(DataError):
        check_allowed(photos, [])


def test_names_that_are_not_utf_8_are_shown_with_escapes(empty: Project, photos: Path) -> None:
    os.rename(photos / "cat" / "1.png", os.fsencode(photos / "cat") + b"/caf\xe9.png")  # noqa: PTH104
    found = add_folder(empty, photos)
    assert "cat/caf\\xe9.png" in [each.name for each in empty.by_id(found.ids)]
    assert all(each.problem is None for each in empty.by_id(found.ids))
