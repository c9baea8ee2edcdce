from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.data.uri import to_path
from headstart.errors import DataError

Photo = Callable[..., Path]
Rows = list[tuple[str, "str | None", "str | None"]]


def _rows(root: Path, manifest: Manifest) -> Rows:
    names = [os.path.relpath(to_path(uri), root) for uri in manifest.uris]
    return list(zip(names, manifest.labels, manifest.splits, strict=True))


def _refused(*arguments: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read_images(*arguments, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_one_subfolder_per_class_at_any_depth(tmp_path: Path, photo: Photo) -> None:
    for name in ("dog/2.jpg", "dog/1.JPG", "cat/deep/er/3.jpeg", "강아지/4.jpg", "loose.jpg"):
        photo(name)
    assert _rows(tmp_path, read_images(str(tmp_path))) == [
        ("cat/deep/er/3.jpeg", "cat", None),
        ("dog/1.JPG", "dog", None),
        ("dog/2.jpg", "dog", None),
        ("loose.jpg", None, None),
        ("강아지/4.jpg", "강아지", None),
    ]


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("Training", "VALID", "Testing"), ("train", "validation", "test")),
        (("train", "validation"), ("train", "validation")),
        (("train",), ("train",)),
    ],
)
def test_folders_named_like_splits(
    tmp_path: Path, photo: Photo, folders: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    for folder in folders:
        photo(f"{folder}/cat/x/1.jpg")
        photo(f"{folder}/2.jpg")
    seen = {(label, split) for _, label, split in _rows(tmp_path, read_images(tmp_path))}
    assert seen == {(label, split) for label in ("cat", None) for split in splits}


def test_a_single_folder_named_like_a_split_is_a_class(tmp_path: Path, photo: Photo) -> None:
    for name in ("bus", "car", "train"):
        photo(f"{name}/1.jpg")
    assert read_images(tmp_path).classes == ("bus", "car", "train")
    assert read_images(tmp_path).splits == [None] * 3


def test_splits_next_to_other_folders_are_refused(tmp_path: Path, photo: Photo) -> None:
    for name in ("train/cat", "test/cat", "extra"):
        photo(f"{name}/1.jpg")
    assert _refused(tmp_path) == (
        f"{tmp_path} has folders named like splits (test, train) next to other folders (extra): move the others away, "
        "leave them out (--split-folders extra=none,test=test,train=train), or read all as classes "
        "(--folder-levels class)"
    )
    (tmp_path / "extra/1.jpg").unlink()  # a folder without images does not count
    assert read_images(tmp_path).splits == ["test", "train"]


def test_other_files_are_skipped(tmp_path: Path, photo: Photo) -> None:
    photo("cat/1.jpg")
    others = (
        "Thumbs.db",
        ".DS_Store",
        "desktop.ini",
        "notes.txt",
        "boxes.json",
        "._1.jpg",
        ".hidden.jpg",
        "README",
        "x.xml",
    )
    others += ("a.npy", "b.zip", "old.jpg.bak", "old.jpg~", "half.jpg.part", "sound.dat")
    for name in others:
        (tmp_path / "cat" / name).write_bytes(
            (tmp_path / "cat/1.jpg").read_bytes() if "old" in name else b"RIFF\0\0\0\0WAVE"
        )
    for name in (".cache/2.jpg", "__MACOSX/cat/1.jpg", "cat/@eaDir/1.jpg"):
        photo(name)
    assert _rows(tmp_path, read_images(tmp_path)) == [("cat/1.jpg", "cat", None)]


def test_broken_images_and_unusual_suffixes_become_rows(tmp_path: Path, photo: Photo) -> None:
    for name in ("cat/none", "cat/a.jpg_large", "cat/b.jpg?w=640"):
        photo(name)
    for name in ("empty.jpg", "phone.HEIC", "drawing.svg"):
        (tmp_path / "cat" / name).write_bytes(b"")
    (tmp_path / "cat/folder.png").mkdir()
    manifest = inspect_all(read_images(tmp_path))
    assert len(manifest) == 7
    assert {Path(uri).name for uri in manifest.unusable.uris} == {
        "empty.jpg",
        "phone.HEIC",
        "drawing.svg",
        "folder.png",
    }


def test_cycles_of_links_end(tmp_path: Path, photo: Photo) -> None:
    photo("cat/1.jpg")
    photo("elsewhere/dog/2.jpg")
    root = tmp_path / "root"
    root.mkdir()
    (root / "cat").symlink_to(tmp_path / "cat")
    (root / "dog").symlink_to(tmp_path / "elsewhere/dog")
    (tmp_path / "cat/up").symlink_to(root)
    (tmp_path / "cat/itself").symlink_to(tmp_path / "cat/itself")
    (tmp_path / "elsewhere/dog/across").symlink_to(tmp_path / "cat")
    seen = _rows(root, read_images(root))
    assert ("cat/1.jpg", "cat", None) in seen
    assert ("dog/2.jpg", "dog", None) in seen
    assert len(seen) < 10


def test_decomposed_and_composed_names_are_one_class(tmp_path: Path, photo: Photo) -> None:
    for form in ("NFC", "NFD"):
        photo(f"train/{unicodedata.normalize(form, '강아지')}/{form}.jpg")  # type: ignore[arg-type]
    manifest = inspect_all(read_images(tmp_path))
    assert manifest.classes == ("강아지",)
    assert manifest.problems == [None, None]


def test_a_class_name_in_another_encoding(tmp_path: Path, photo: Photo) -> None:
    photo(os.fsdecode(b"caf\xe9/1.jpg"))
    manifest = inspect_all(read_images(tmp_path))
    assert (manifest.classes, manifest.problems) == (("caf\\xe9",), [None])


def test_flat_folders_files_and_lists(tmp_path: Path, photo: Photo) -> None:
    first, second, below = photo("a.jpg"), photo("b.jpg"), photo("more/c.jpg")
    assert read_images(first).uris == [str(first)]
    assert read_images([second, str(first), second]).uris == [str(second), str(first)]
    assert read_images([below.parent, tmp_path / "missing.jpg"]).uris == [str(below), str(tmp_path / "missing.jpg")]
    assert read_images(below.parent).labels == [None]


def test_missing_images_are_reported(tmp_path: Path) -> None:
    assert _refused(tmp_path / "nowhere") == f"{tmp_path}/nowhere: no such folder or file"
    assert _refused([]) == "the list of images is empty"
    (tmp_path / "notes.txt").write_text("none")
    assert (
        _refused(tmp_path)
        == f"{tmp_path} has no images: no file in it, at any depth, ends in .jpg, .png, .webp or similar"
    )
    assert _refused(tmp_path, "none.csv") == f"{tmp_path}/none.csv: no such table of labels"
    assert _refused(tmp_path / "gone", "x.csv") == f"{tmp_path}/gone must be the folder of the images that x.csv names"


def test_a_folder_without_permission_is_an_error(tmp_path: Path, photo: Photo) -> None:
    photo("cat/1.jpg").parent.chmod(0)
    if os.access(tmp_path / "cat", os.R_OK):
        pytest.skip("this user may list everything")
    assert _refused(tmp_path) == f"{tmp_path}/cat cannot be listed: Permission denied"


def _table(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def test_kaggles_layout_needs_no_options(tmp_path: Path, photo: Photo) -> None:
    for name in ("train/007.jpg", "train/1e5.jpg", "test/007.jpg", "test/zzz.jpg"):
        photo(name)
    _table(tmp_path, "id,breed\n1e5,pug\n007,beagle\ngone,pug\n")
    _table(tmp_path, "id,beagle,pug\nzzz,0.5,0.5\n007,0.5,0.5\n", "sample_submission.csv")
    manifest = inspect_all(read_images(tmp_path))
    assert _rows(tmp_path, manifest) == [
        ("train/1e5.jpg", "pug", "train"),
        ("train/007.jpg", "beagle", "train"),
        ("gone", "pug", None),
    ]
    assert manifest.problems == [None, None, "no such file"]
    assert read_images(tmp_path, labels=False).labels == [None] * 4
    assert read_images(tmp_path / "labels.csv").uris == manifest.uris
    assert read_images(tmp_path / "train", tmp_path / "labels.csv").uris[:2] == manifest.uris[:2]
    assert read_images(tmp_path, "labels.csv").table.equals(
        read_images(str(tmp_path), str(tmp_path / "labels.csv")).table
    )


def test_unrelated_tables_do_not_hide_the_class_folders(tmp_path: Path, photo: Photo) -> None:
    photo("cat/1.jpg")
    _table(tmp_path, "name,count\nsomething,3\n", "stats.csv")
    _table(tmp_path, "id,when,where\n77,2,3\n", "journal.csv")
    assert _rows(tmp_path, read_images(tmp_path)) == [("cat/1.jpg", "cat", None)]


def test_a_damaged_table_stops(tmp_path: Path, photo: Photo) -> None:
    photo("cat/1.jpg")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    assert "broken.parquet is beside the images, but cannot be used as a table of labels" in _refused(tmp_path)
    assert read_images(tmp_path, False).labels == ["cat"]


def test_two_usable_tables_are_refused(tmp_path: Path, photo: Photo) -> None:
    photo("1.jpg")
    _table(tmp_path, "id,label\n1,cat\n", "a.csv")
    _table(tmp_path, "id\tlabel\n1\tdog\n", "b.tsv")
    assert _refused(tmp_path) == f"{tmp_path} has more than one table of labels (a.csv, b.tsv): name one with --labels"
    assert read_images(tmp_path, "b.tsv").labels == ["dog"]


def test_columns_without_a_table_are_refused(tmp_path: Path, photo: Photo) -> None:
    photo("cat/1.jpg")
    assert _refused(tmp_path, label_column="breed") == (
        f"--label-column is given, but no table in {tmp_path} has labels of its images: name one with --labels"
    )


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("one/a.jpg", "one/a.jpg"),
        ("./one/a.jpg", "one/a.jpg"),
        ("one/a", "one/a.jpg"),
        ("one\\a.jpg", "one/a.jpg"),
        ("{root}/one/a.jpg", "one/a.jpg"),
        ("{name}/one/a.jpg", "one/a.jpg"),
        ("B", "two/B.PNG"),
        ("b.png", "two/B.PNG"),
        ("deep/c.jpg", "two/deep/c.jpg"),
        ("deep/c", "two/deep/c.jpg"),
        ("two.dots", "two/two.dots.jpg"),
        ("%41#?", "two/%41#?.jpg"),
        ("강아지", "two/강아지.jpg"),
        ("nosuffix", "two/nosuffix"),
        ("other/c.jpg", None),
        ("a.png", None),
        ("", None),
        ("../a.jpg", None),
        ("one", None),
    ],
)
def test_names_of_images_in_tables(tmp_path: Path, photo: Photo, written: str, found: str | None) -> None:
    from headstart.data.sources.lookup import ImageLookup

    names = ["one/a.jpg", "two/B.PNG", "two/deep/c.jpg", "two/two.dots.jpg", "two/%41#?.jpg", "two/nosuffix"]
    names.append(f"two/{unicodedata.normalize('NFD', '강아지')}.jpg")
    for name in names:
        photo(f"root/{name}")
    root = tmp_path / "root"
    found_paths = ImageLookup(root).matches(written.format(root=root, name="root"))
    assert [unicodedata.normalize("NFC", str(path.relative_to(root))) for path in found_paths] == (
        [found] if found else []
    )


def test_train_is_preferred_and_other_ambiguities_are_refused(tmp_path: Path, photo: Photo) -> None:
    for name in ("train/1.jpg", "test/1.jpg", "test/2.jpg", "x/2.jpg", "x/3.jpg", "y/3.jpg"):
        photo(name)
    _table(tmp_path, "id,label\n1,a\n2,b\n")
    assert [name for name, _, _ in _rows(tmp_path, read_images(tmp_path, "labels.csv"))] == ["train/1.jpg", "x/2.jpg"]
    table = _table(tmp_path, "id,label\n3,a\n")
    assert _refused(tmp_path) == (
        f"{table}: '3' may be {tmp_path}/x/3.jpg or {tmp_path}/y/3.jpg: write the path below {tmp_path} into the table"
    )


def test_duplicate_rows(tmp_path: Path, photo: Photo) -> None:
    photo("1.jpg")
    _table(tmp_path, "id,label\n1,\n1.jpg,cat\n1,cat\n1,\n")
    assert _rows(tmp_path, read_images(tmp_path)) == [("1.jpg", "cat", None)]
    table = _table(tmp_path, "id,label\n1,cat\n1.jpg,dog\n")
    assert _refused(tmp_path) == f"{table} gives '1.jpg' two labels: 'cat' and 'dog'"
    table = _table(tmp_path, "id,label,split\n1,cat,train\n1,cat,test\n")
    assert _refused(tmp_path) == f"{table} puts '1' into two splits: 'train' and 'test'"


def test_splits_of_a_table_take_precedence_over_folders(tmp_path: Path, photo: Photo) -> None:
    photo("train/1.jpg")
    photo("val/2.jpg")
    _table(tmp_path, "id,label\n1,a\n2,b\n")
    assert read_images(tmp_path).splits == ["train", "validation"]
    _table(tmp_path, "id,label,split\n1,a,Test\n2,b,\n")
    assert read_images(tmp_path).splits == ["test", None]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        NAMES.map(str.strip).filter(lambda name: name not in ("", ".", "..")), st.sampled_from("ab"), min_size=1
    )
)
def test_a_table_of_any_names_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, str]) -> None:
    root = tmp_path_factory.mktemp("table")
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *rows.items()])
    manifest = read_images(root, "labels.csv")
    assert dict(zip(manifest.uris, manifest.labels, strict=True)) == {f"{root}/{name}": rows[name] for name in rows}


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, photo: Photo) -> None:
    names = [f"{label}/{i}.jpg" for label in ("b", "a b", "a") for i in (10, 9, 1)]
    for name in names:
        photo(name)
    assert [name for name, _, _ in _rows(tmp_path, read_images(tmp_path))] == sorted(
        names, key=lambda name: name.split("/")
    )


def test_a_column_says_which_images_belong_together(tmp_path: Path, photo: Photo) -> None:
    for name in "abcd":
        photo(tmp_path / f"{name}.jpg")
    table = tmp_path / "labels.csv"
    table.write_text("id,patient,breed\na,p1,pug\nb,p1,pug\nc,p2,beagle\nd,,beagle\n")
    plain = read_images(tmp_path)
    assert plain.description is not None
    assert plain.groups == [None] * 4
    (note,) = plain.description.notes
    assert note == (
        "images of the same 'patient' may be divided between splits: --group-column patient keeps them together"
    )
    manifest = read_images(tmp_path, group_column="patient")
    assert manifest.groups == ["p1", "p1", "p2", None]
    assert manifest.description is not None
    assert "  groups: 2, never divided by a split or fold" in manifest.description.lines()
    assert "label column 'breed', group column 'patient'" in manifest.description.lines()[1]
    assert manifest.description.notes == ()
    assert "has no column 'patinet' (--group-column)" in _refused(tmp_path, group_column="patinet")
    assert "did you mean 'patient'?" in _refused(tmp_path, group_column="patinet")


def test_an_image_in_two_groups_is_refused(tmp_path: Path, photo: Photo) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("id,breed,patient\na,pug,p1\na,pug,p2\n")
    assert "puts 'a' into two groups: 'p1' and 'p2'" in _refused(tmp_path, group_column="patient")


def test_groups_of_tables_in_folders_of_splits(tmp_path: Path, photo: Photo) -> None:
    for split in ("train", "test"):
        photo(tmp_path / split / "a.jpg")
        (tmp_path / split / "metadata.csv").write_text(f"file_name,label,patient\na.jpg,pug,{split}7\n")
    assert read_images(tmp_path, group_column="patient").groups == ["test7", "train7"]


def test_paths_say_which_images_belong_together(tmp_path: Path, photo: Photo) -> None:
    for name in ("cat/p1_a", "cat/p1_b", "dog/p2_a", "dog/p3_a"):
        photo(tmp_path / f"{name}.jpg")
    manifest = read_images(tmp_path, group_pattern="(p[0-9])_")
    assert manifest.groups == ["p1", "p1", "p2", "p3"]
    assert manifest.description is not None
    assert manifest.description.groups == 3
    assert read_images([tmp_path / "cat", tmp_path / "dog"], group_pattern="(p[0-9])_").groups == manifest.groups
    assert "is not found in 1 of 4 paths, as in 'dog/p3_a.jpg'" in _refused(tmp_path, group_pattern="p[12]")
