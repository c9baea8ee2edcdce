from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.manifest import Manifest
from headstart.data.sources.folder_levels import detect_levels, parse_levels, parse_split_folders
from headstart.data.sources.read import read_images
from headstart.errors import AmbiguousFolders, DataError, SettingsError

CLASSES = ("stripes", "rings", "checks")
Photo = Callable[..., Path]


def _fill(photo: Photo, *folders: str, classes: tuple[str, ...] = CLASSES) -> None:
    for folder in folders:
        for name in classes:
            photo(f"{folder}/{name}/1.jpg")


def _facts(manifest: Manifest) -> set[tuple[str | None, str | None]]:
    return set(zip(manifest.labels, manifest.splits, strict=True))


def _guesses(manifest: Manifest) -> list[str]:
    assert manifest.description is not None
    return [str(guess) for guess in manifest.description.guesses]


@pytest.mark.parametrize(
    "names",
    [
        {"seg_train": "train", "seg_test": "test"},
        {"training_set": "train", "test_set": "test"},
        {"train": "train", "eval": "test"},
        {"Entrenamiento": "train", "validación": "validation", "Prueba": "test"},
        {"训练集": "train", "测试集": "test"},
    ],
)
def test_split_folders_are_never_classes(tmp_path: Path, photo: Photo, names: dict[str, str]) -> None:
    _fill(photo, *names)
    manifest = read_images(tmp_path)
    assert _facts(manifest) == {(label, split) for label in CLASSES for split in names.values()}
    assert any("the folders are splits" in guess and "--split-folders" in guess for guess in _guesses(manifest))


def test_conventional_splits_are_no_guess(tmp_path: Path, photo: Photo) -> None:
    _fill(photo, "train", "val", "test")
    assert _guesses(read_images(tmp_path)) == []


def test_a_folder_of_its_own_name_in_each_split(tmp_path: Path, photo: Photo) -> None:
    _fill(photo, "seg_train/seg_train", "seg_test/seg_test")
    photo("seg_pred/seg_pred/7.jpg")
    manifest = read_images(tmp_path)
    assert _facts(manifest) == {(label, split) for label in CLASSES for split in ("train", "test")} | {(None, None)}
    assert manifest.description is not None
    assert [each.what for each in manifest.description.left_out] == ["seg_pred"]
    assert manifest.description.folders == ("split", "any", "class")


def test_splits_below_the_classes(tmp_path: Path, photo: Photo) -> None:
    for name in CLASSES:
        for split in ("train", "test"):
            photo(f"{name}/{split}/1.jpg")
    manifest = read_images(tmp_path)
    assert _facts(manifest) == {(label, split) for label in CLASSES for split in ("train", "test")}
    assert "--folder-levels class" in _guesses(manifest)[0]
    assert set(read_images(tmp_path, folder_levels="class").splits) == {None}


def test_a_folder_around_everything(tmp_path: Path, photo: Photo) -> None:
    _fill(photo, "data/my_dataset/train", "data/my_dataset/val")
    manifest = read_images(tmp_path)
    assert _facts(manifest) == {(label, split) for label in CLASSES for split in ("train", "validation")}
    assert "data/my_dataset" in _guesses(manifest)[0]
    plain = read_images(tmp_path / "data/my_dataset/train")
    assert (plain.classes, _guesses(plain)) == (tuple(sorted(CLASSES)), [])


def test_one_class_may_have_folders_of_its_own(tmp_path: Path, photo: Photo) -> None:
    photo("cat/deep/er/1.jpg")
    assert read_images(tmp_path).labels == ["cat"]


def test_letters_above_the_classes(tmp_path: Path, photo: Photo) -> None:
    for name in ("a/airfield", "a/alley", "b/bakery"):
        photo(f"{name}/1.jpg")
    manifest = read_images(tmp_path)
    assert manifest.classes == ("airfield", "alley", "bakery")
    assert "single letters" in _guesses(manifest)[0]


def test_folders_that_hold_the_same_classes_are_refused(tmp_path: Path, photo: Photo) -> None:
    _fill(photo, "camera_a", "camera_b")
    with pytest.raises(AmbiguousFolders) as caught:
        read_images(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the folders camera_a, camera_b hold folders of the same names (checks, rings, stripes), so that "
        "two readings fit. The classes are the inner folders: --folder-levels any/class, or, where the outer folders "
        "are splits, --split-folders camera_a=train,camera_b=test. The classes are the outer folders: "
        "--folder-levels class"
    )
    assert read_images(tmp_path, folder_levels="any/class").classes == ("checks", "rings", "stripes")
    assert read_images(tmp_path, folder_levels="class").classes == ("camera_a", "camera_b")
    given = read_images(tmp_path, split_folders="camera_a=train,camera_b=test")
    assert _facts(given) == {(label, split) for label in CLASSES for split in ("train", "test")}
    nothing = read_images(tmp_path, folder_levels="none")
    assert (nothing.classes, set(nothing.labels)) == ((), {None})


def test_one_shared_subfolder_is_no_reason_to_refuse(tmp_path: Path, photo: Photo) -> None:
    for name in ("n01", "n02"):
        photo(f"{name}/images/1.jpg")
    assert read_images(tmp_path).classes == ("n01", "n02")


def test_folders_next_to_splits_can_be_left_out(tmp_path: Path, photo: Photo) -> None:
    _fill(photo, "train", "test")
    photo("extra/1.jpg")
    with pytest.raises(AmbiguousFolders, match="extra=none,test=test,train=train"):
        read_images(tmp_path)
    manifest = read_images(tmp_path, split_folders="extra=none,test=test,train=train")
    assert _facts(manifest) == {(label, split) for label in CLASSES for split in ("train", "test")} | {(None, None)}


def test_split_folders_must_be_there(tmp_path: Path, photo: Photo) -> None:
    _fill(photo, "one", "two")
    with pytest.raises(DataError, match="has no folder 'three'"):
        read_images(tmp_path, split_folders="one=train,two=test,three=test")
    with pytest.raises(DataError, match="'two' is not known to be a split"):
        read_images(tmp_path, split_folders="one=train")
    with pytest.raises(DataError, match="needs a level 'split'"):
        read_images(tmp_path, split_folders="one=train", folder_levels="class")


@pytest.mark.parametrize("text", ["", "class/class", "split", "split/split/class", "klass", "class,split"])
def test_levels_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="folder_levels must be"):
        parse_levels(text)


@pytest.mark.parametrize("text", ["", "a", "a=", "=train", "a=best", "a=train,"])
def test_split_folders_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="split_folders must be"):
        parse_split_folders(text)


def test_no_images_have_no_levels_but_classes() -> None:
    assert detect_levels([], "x").levels == ("class",)


@pytest.mark.parametrize(
    "marks",
    [("settings.json", "evaluation.json"), ("model.json", "model.safetensors"), ("manifest.parquet", "issues.csv")],
)
def test_folders_that_headstart_wrote_are_left_out(tmp_path: Path, photo: Photo, marks: tuple[str, ...]) -> None:
    photo("cat/1.jpg")
    photo("dog/1.jpg")
    for name in ("runs/photos", "cat/run"):
        photo(f"{name}/sheet.png")
        for mark in marks:
            (tmp_path / name / mark).write_text("")
    manifest = read_images(tmp_path)
    assert (len(manifest), manifest.classes) == (2, ("cat", "dog"))
    assert manifest.description is not None
    assert [each.what for each in manifest.description.left_out] == ["cat/run", "runs/photos"]
