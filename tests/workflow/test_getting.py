"""Known data sets from what is published to a folder that can be used, on small archives of their layout."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data import download
from headstart.data.known import DOG_BREEDS, IMAGENET_V2, ClassFolders, Known, Published, TableBeside
from headstart.errors import DataError, DownloadError
from headstart.settings import EngineSettings
from headstart.workflow import getting, predicting
from headstart.workflow.checking import read
from headstart.workflow.getting import RECORD, get

INDICES = [0, 2, 10, 207]


def jpeg(shade: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng([seed, shade]).integers(0, 60, (24, 30, 3), np.uint8) + np.uint8(shade)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def imagenet(server: Any, monkeypatch: pytest.MonkeyPatch) -> Known:
    """Four classes by index, two pictures each, published on a server of this test: a plain tar named .tar.gz."""
    monkeypatch.setattr(download, "_WAIT", 0.001)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(8):
            data = jpeg(20 * number)
            member = tarfile.TarInfo(f"imagenetv2-top-images-format-val/{INDICES[number // 2]}/{number}.jpeg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = file.getvalue()
    server.files["/v2.tar.gz"] = data
    origin = Published("v2.tar.gz", len(data), hashlib.sha256(data).hexdigest(), urls=(f"{server.url}/v2.tar.gz",))
    return replace(IMAGENET_V2["top-images"], origin=origin, check=ClassFolders(images=8, classes=4).check)


DOGS = replace(DOG_BREEDS, check=TableBeside(images=12, classes=2, test=1).check)


def dog_files() -> dict[str, bytes]:
    rows = "".join(f"{number:032x},{['boston_bull', 'pug'][number % 2]}\n" for number in range(12))
    files = {f"train/{number:032x}.jpg": jpeg(30 + 150 * (number % 2), number) for number in range(12)}
    table = {"labels.csv": f"id,breed\n{rows}".encode(), "sample_submission.csv": b"id,boston_bull,pug\nff,0.5,0.5\n"}
    return {**table, "test/ff.jpg": jpeg(0), **files}


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_imagenet_v2_from_its_address(imagenet: Known, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "there" / "imagenetv2-top-images"
    told = get(imagenet, out)
    assert told == [f"8 pictures in 4 folders: {out}", f"next: headstart evaluate tf_efficientnet_lite0 {out}"]
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    manifest = read(out)
    assert manifest.labels == ["0", "0", "10", "10", "2", "2", "207", "207"]
    record = json.loads((out / RECORD).read_text())
    assert record["sha256"] == hashlib.sha256(server.files["/v2.tar.gz"]).hexdigest()
    assert (record["name"], record["from"], len(record["files"])) == ("imagenetv2-top-images", "v2.tar.gz", 8)


def test_evaluate_works_on_its_layout(imagenet: Known, tmp_path: Path, one_thread: None) -> None:
    out = tmp_path / "imagenetv2-top-images"
    get(imagenet, out)
    classifier = predicting.open_classifier("tf_efficientnet_lite0")
    found, evaluation = predicting.evaluate(classifier, read(out), EngineSettings(engine="torch"))
    assert evaluation["images"] == 8
    names = classifier.classes
    assert [names.index(str(label)) for label in found.manifest.labels] == [0, 0, 10, 10, 2, 2, 207, 207]


def test_what_is_there_is_not_fetched_again_but_compared(imagenet: Known, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "v2"
    get(imagenet, out)
    server.asked.clear()
    (out / ".DS_Store").touch()
    assert get(imagenet, out)[0] == (
        f"{out} is there already: 8 pictures in 4 folders, unchanged since they were unpacked"
    )
    picture = out / "2" / "2.jpeg"
    data = picture.read_bytes()
    picture.write_bytes(data[:-1] + b"x")
    with pytest.raises(DataError) as caught:
        get(imagenet, out)
    assert str(caught.value) == (
        f"{out}: 2/2.jpeg is not as it was unpacked ({out / RECORD}); move {out} away to have it unpacked again"
    )
    picture.unlink()
    with pytest.raises(DataError, match=r"expected 8 pictures, found 7; move .* away, or choose another place"):
        get(imagenet, out)
    picture.write_bytes(data)
    (out / RECORD).write_text("{}")
    with pytest.raises(DataError, match=r"\.headstart\.json is damaged; .* remove it"):
        get(imagenet, out)
    (out / RECORD).unlink()
    assert "their bytes are not compared" in get(imagenet, out)[0]
    assert server.asked == []


def test_an_interrupted_download_goes_on(imagenet: Known, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "v2"
    server.breaks = [5_000, *[0] * 5]
    with pytest.raises(DownloadError) as caught:
        get(imagenet, out)
    part = tmp_path / "v2.download" / "v2.tar.gz.part"
    assert f"the connection broke; the 0.0 MB that came are kept in {part}" in str(caught.value)
    assert str(caught.value).endswith("\ndownload it where there is a network, and give it: --archive FILE")
    assert part.stat().st_size == 5_000
    assert not out.exists()
    server.asked.clear()
    get(imagenet, out)
    assert server.asked == [("GET /v2.tar.gz", "bytes=5000-")]
    assert [path.name for path in tmp_path.iterdir()] == ["v2"]


def test_a_killed_unpacking_is_done_again_without_fetching(imagenet: Known, server: Any, tmp_path: Path) -> None:
    work = tmp_path / "v2.download"
    (work / "unpacked" / "half").mkdir(parents=True)
    (work / ".unpacked.unpacking").mkdir()
    (work / "v2.tar.gz").write_bytes(server.files["/v2.tar.gz"])
    get(imagenet, tmp_path / "v2")
    assert server.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["v2"]


def test_an_archive_downloaded_by_hand(imagenet: Known, server: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.tar.gz"
    mine.write_bytes(server.files["/v2.tar.gz"])
    (tmp_path / "v2").mkdir()  # empty folders are no data
    get(imagenet, tmp_path / "v2", archive=mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tar.gz", "v2"]
    assert server.asked == []
    mine.write_bytes(b"x")
    with pytest.raises(DownloadError, match=r"mine.tar.gz has 1 bytes, but v2.tar.gz as published has"):
        get(imagenet, tmp_path / "other", archive=mine)
    with pytest.raises(DataError, match="none: no such archive"):
        get(imagenet, tmp_path / "other", archive=tmp_path / "none")
    with pytest.raises(DataError, match=r"mine.tar.gz is a file: choose another place with --out"):
        get(imagenet, mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tar.gz", "v2"]


def test_a_set_that_is_not_whole_does_not_get_its_name(imagenet: Known, tmp_path: Path) -> None:
    more = replace(imagenet, check=ClassFolders(images=10_000, classes=1_000).check)
    with pytest.raises(DataError) as caught:
        get(more, tmp_path / "v2")
    assert "expected 10,000 pictures, found 8; expected 1,000 folders with pictures, found 4" in str(caught.value)
    # What was fetched is as published, so that it is kept: the next call need not fetch it again.
    assert [path.name for path in (tmp_path / "v2.download").iterdir()] == ["v2.tar.gz"]
    assert not (tmp_path / "v2").exists()


def test_the_disk_is_looked_at_first(imagenet: Known, server: Any, tmp_path: Path) -> None:
    assert isinstance(imagenet.origin, Published)
    large = replace(imagenet, origin=replace(imagenet.origin, bytes=10**15))
    with pytest.raises(DataError, match="MB are needed to fetch and unpack imagenetv2-top-images, but"):
        get(large, tmp_path / "v2")
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", ["flat", "one folder", "zips in it"])
def test_dog_breeds_from_a_zip(tmp_path: Path, layout: str) -> None:
    files = dog_files()
    if layout == "one folder":
        files = {f"dog-breed-identification/{name}": data for name, data in files.items()}
        files["__MACOSX/._x"] = b"1"
    if layout == "zips in it":
        train = zipped({name: data for name, data in files.items() if name.startswith("train/")})
        test = zipped({name[5:]: data for name, data in files.items() if name.startswith("test/")})
        files = {
            "labels.csv.zip": zipped({"labels.csv": files["labels.csv"]}),
            "sample_submission.csv.zip": zipped({"sample_submission.csv": files["sample_submission.csv"]}),
            "train.zip": train,
            "test.zip": test,
        }
    archive, out = tmp_path / "kaggle.zip", tmp_path / "dog breeds"
    archive.write_bytes(zipped(files))
    told = get(DOGS, out, archive=archive)
    assert told == [
        f"12 rows with their pictures, 2 breeds, 1 pictures to predict in test: {out}",
        f"next: headstart fit '{out}'",
    ]
    manifest = read(out)
    assert (len(manifest), manifest.classes, set(manifest.splits)) == (12, ("boston_bull", "pug"), {"train"})
    assert all(Path(uri).parent == out / "train" for uri in manifest.uris)
    assert (out / "sample_submission.csv").read_bytes() == dog_files()["sample_submission.csv"]
    record = json.loads((out / RECORD).read_text())
    assert record["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert "unchanged since they were unpacked" in get(DOGS, out)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dog breeds", "kaggle.zip"]


def test_fit_works_on_their_layout(tmp_path: Path, fitted: Callable[..., Any]) -> None:
    (tmp_path / "kaggle.zip").write_bytes(zipped(dog_files()))
    get(DOGS, tmp_path / "dog-breeds", archive=tmp_path / "kaggle.zip")
    done = fitted(tmp_path / "dog-breeds")
    assert done.classifier.classes == ("boston_bull", "pug")
    assert len(done.manifest) == 12


@pytest.mark.skipif(not importlib.util.find_spec("kagglehub"), reason="kagglehub (the extra kaggle) is not installed")
@pytest.mark.filterwarnings("default")  # those of another package's imports
def test_dog_breeds_from_kaggle_s_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has in its cache it hands out without a network, and without credentials."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "competitions" / "dog-breed-identification"
    for name, data in dog_files().items():
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes(data)
    kept.with_name(f"{kept.name}.complete").touch()
    (kept / ".hidden").touch()
    out = tmp_path / "dog-breeds"
    assert get(DOGS, out)[0].startswith("12 rows with their pictures, 2 breeds, 1 pictures to predict")
    assert len(read(out)) == 12
    assert (kept / "labels.csv").exists()
    assert not (out / ".hidden").exists()
    assert "unchanged since they were unpacked" in get(DOGS, out)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "dog-breeds"]


def test_an_unsafe_zip(tmp_path: Path) -> None:
    (tmp_path / "kaggle.zip").write_bytes(zipped({**dog_files(), "../labels.csv": b"id,breed\n"}))
    with pytest.raises(DataError, match=r"kaggle.zip: its member '\.\./labels.csv' leads outside of the folder"):
        get(DOGS, tmp_path / "dog-breeds", archive=tmp_path / "kaggle.zip")
    files = {name: data for name, data in dog_files().items() if not name.startswith("test/")}
    (tmp_path / "kaggle.zip").write_bytes(zipped({**files, "test.zip": zipped({"../../labels.csv": b"x"})}))
    with pytest.raises(DataError, match=r"test.zip: its member '\.\./\.\./labels.csv' leads outside of the folder"):
        get(DOGS, tmp_path / "dog-breeds", archive=tmp_path / "kaggle.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["kaggle.zip"]


def test_where_it_cannot_go(imagenet: Known, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^\. is the current folder: name a new one with --out$"):
        get(imagenet, Path())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"below: Not a directory \("):
        get(imagenet, tmp_path / "file" / "below")
    assert server.asked == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    assert get(imagenet, Path("link"))[0] == "8 pictures in 4 folders: link"
    assert (tmp_path / "elsewhere" / RECORD).exists()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.shared
def test_the_real_number_of_dogs(shared: Path, tmp_path: Path) -> None:
    """As many pictures, breeds and rows as the competition has, from a zip."""
    archive = tmp_path / "dog-breed-identification.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [shared / "dogs120" / "labels.csv", *(shared / "dogs120" / "train").iterdir()]:
            file.write(path, path.relative_to(shared / "dogs120"))
    out = tmp_path / "dog-breeds"
    assert getting.dog_breeds(out, archive=archive)[0] == f"10,222 rows with their pictures, 120 breeds: {out}"
    assert len(read(out).classes) == 120
    assert "unchanged" in getting.dog_breeds(out)[0]
