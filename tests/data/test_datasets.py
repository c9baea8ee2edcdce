"""The expected content of the known data sets, on small copies of their layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from headstart.config import ImageNetV2Settings, options_of
from headstart.data.datasets import DOG_BREEDS, IMAGENET_V2, Competition, CsvLayout, FolderLayout
from headstart.data.digests import file_digest, folder_digests
from headstart.data.download import RemoteFile
from headstart.errors import DataError

Photo = Callable[..., Path]


def differs(check: Callable[[Path], str], folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        check(folder)
    return str(caught.value)


@pytest.fixture
def classes(photo: Photo, tmp_path: Path) -> Path:
    """Three classes by index with two images each, below tmp_path/v2."""
    for number in range(6):
        photo(f"v2/{[0, 2, 10][number // 2]}/{number}.jpeg", number)
    return tmp_path / "v2"


@pytest.fixture
def dogs(photo: Photo, tmp_path: Path) -> Path:
    """Four rows, two breeds, and a test image."""
    for number in range(4):
        photo(f"dogs/train/{number:032x}.jpg", number)
    photo("dogs/test/ff.jpg")
    rows = "".join(f"{number:032x},{'pug' if number % 2 else 'boston_bull'}\n" for number in range(4))
    (tmp_path / "dogs" / "labels.csv").write_text(f"id,breed\n{rows}")
    return tmp_path / "dogs"


def test_class_folders(classes: Path) -> None:
    assert FolderLayout(images=6, classes=3).check(classes) == "6 images in 3 folders"
    (classes / "0" / "0.jpeg").unlink()
    (classes / "2" / "2.jpeg").rename(classes / "2.jpeg")
    (classes / "10" / "5.jpeg").rename(classes / "10" / ".5.jpeg")
    assert differs(FolderLayout(images=6, classes=4).check, classes) == (
        f"{classes} is not complete: expected 6 images, found 4; expected 4 folders with images, found 3; "
        "expected 0 images outside the folders, found 1"
    )


def test_a_table_next_to_its_images(dogs: Path) -> None:
    expected = CsvLayout(images=4, classes=2, test=1)
    assert expected.check(dogs) == "4 rows with their images, 2 breeds, 1 images to predict in test"
    (dogs / "train" / f"{1:032x}.jpg").unlink()
    (dogs / "train" / f"{2:032x}.jpg").unlink()
    assert differs(CsvLayout(images=5, classes=3, test=2).check, dogs) == (
        f"{dogs} is not complete: expected 5 rows in labels.csv, found 4; expected 5 different ids, found 4; "
        "expected 3 breeds, found 2; expected 5 rows with an image in train, found 2; "
        f"expected 2 images in test, found 1; train/{1:032x}.jpg and 1 more are missing"
    )
    for path in (dogs / "test").iterdir():
        path.unlink()
    assert "expected 1 images in test, found 0" in differs(expected.check, dogs)


def test_the_test_folder_is_optional(dogs: Path) -> None:
    (dogs / "test" / "ff.jpg").unlink()
    (dogs / "test").rmdir()
    assert CsvLayout(images=4, classes=2, test=1).check(dogs) == "4 rows with their images, 2 breeds"
    (dogs / "labels.csv").unlink()
    assert differs(CsvLayout(4, 2, 1).check, dogs) == f"{dogs / 'labels.csv'}: no such table of labels"


def test_the_known_data_sets() -> None:
    (variant,) = [option for option in options_of(ImageNetV2Settings) if option.name == "variant"]
    assert set(IMAGENET_V2) == set(variant.choices)
    for name, known in IMAGENET_V2.items():
        assert known.name == f"imagenetv2-{name}"
        assert isinstance(known.origin, RemoteFile)
        assert len(bytes.fromhex(known.origin.sha256)) == 32
        assert known.origin.urls[0].endswith(known.origin.file)
        assert known.max_bytes > known.origin.bytes
    assert len({known.origin for known in IMAGENET_V2.values()}) == 3
    assert DOG_BREEDS.origin == Competition("dog-breed-identification")
    assert [field.name for field in fields(CsvLayout)] == ["images", "classes", "test"]


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "abc").write_bytes(b"abc")
    (tmp_path / "a" / "empty").touch()
    (tmp_path / "a" / ".hidden").write_bytes(b"1")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert file_digest(tmp_path / "a" / "b" / "abc") == abc
    assert folder_digests(tmp_path / "a") == {
        "b/abc": abc,
        "empty": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }


@pytest.mark.shared
def test_the_real_dog_breeds(shared: Path) -> None:
    assert DOG_BREEDS.check(shared / "dogs120") == "10,222 rows with their images, 120 breeds"
    text = differs(DOG_BREEDS.check, shared / "kaggle-dogs-240")
    assert "expected 10,222 rows in labels.csv, found 240; " in text
