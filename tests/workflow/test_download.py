"""Downloads of the known data sets, from small archives of their layout to folders that can be used."""

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

from headstart.config import EngineSettings
from headstart.data import download
from headstart.data.datasets import DOG_BREEDS, IMAGENET_V2, CsvLayout, DatasetInfo, FolderLayout, RemoteFile
from headstart.errors import DataError, DownloadError, OutputError
from headstart.workflow import download as downloading
from headstart.workflow import predict as predicting
from headstart.workflow.download import RECORD, download_dataset
from headstart.workflow.evaluate import evaluate
from headstart.workflow.reading import read

INDICES = [0, 2, 10, 207]


def jpeg(shade: int, seed: int = 0) -> bytes:
    pixels = np.random.default_rng([seed, shade]).integers(0, 60, (24, 30, 3), np.uint8) + np.uint8(shade)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def imagenet(server: Any, monkeypatch: pytest.MonkeyPatch) -> DatasetInfo:
    """Four classes by index, two images each, published on the server of this test: a plain tar named .tar.gz."""
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
    origin = RemoteFile("v2.tar.gz", len(data), hashlib.sha256(data).hexdigest(), urls=(f"{server.url}/v2.tar.gz",))
    return replace(IMAGENET_V2["top-images"], origin=origin, check=FolderLayout(images=8, classes=4).check)


DOGS = replace(DOG_BREEDS, check=CsvLayout(images=12, classes=2, test=1).check)


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


def test_imagenet_v2_from_its_url(imagenet: DatasetInfo, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "there" / "imagenetv2-top-images"
    lines = download_dataset(imagenet, out)
    assert lines == [f"8 images in 4 folders: {out}", f"next: headstart evaluate tf_efficientnet_lite0 {out}"]
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    manifest = read(out)
    assert manifest.labels == ["0", "0", "10", "10", "2", "2", "207", "207"]
    record = json.loads((out / RECORD).read_text())
    assert record["sha256"] == hashlib.sha256(server.files["/v2.tar.gz"]).hexdigest()
    assert (record["name"], record["from"], len(record["files"])) == ("imagenetv2-top-images", "v2.tar.gz", 8)


def test_evaluate_works_on_the_layout_of_imagenet_v2(imagenet: DatasetInfo, tmp_path: Path, one_thread: None) -> None:
    out = tmp_path / "imagenetv2-top-images"
    download_dataset(imagenet, out)
    classifier = predicting.open_classifier("tf_efficientnet_lite0")
    found, evaluation = evaluate(classifier, read(out), EngineSettings(engine="torch"))
    assert evaluation.images == 8
    names = classifier.classes
    assert [names.index(str(label)) for label in found.manifest.labels] == [0, 0, 10, 10, 2, 2, 207, 207]


def test_an_existing_folder_is_verified_instead_of_downloaded(
    imagenet: DatasetInfo, server: Any, tmp_path: Path
) -> None:
    out = tmp_path / "v2"
    download_dataset(imagenet, out)
    server.requests.clear()
    (out / ".DS_Store").touch()
    assert download_dataset(imagenet, out)[0] == (
        f"{out} exists already: 8 images in 4 folders, unchanged since they were unpacked"
    )
    image = out / "2" / "2.jpeg"
    data = image.read_bytes()
    image.write_bytes(data[:-1] + b"x")
    with pytest.raises(DataError) as caught:
        download_dataset(imagenet, out)
    assert str(caught.value) == (
        f"{out}: 2/2.jpeg changed after unpacking ({out / RECORD}); move {out} away to unpack it again"
    )
    image.unlink()
    with pytest.raises(DataError, match=r"expected 8 images, found 7; move .* away, or choose another folder"):
        download_dataset(imagenet, out)
    image.write_bytes(data)
    (out / RECORD).write_text("{}")
    with pytest.raises(DataError, match=r"\.headstart\.json is damaged: remove it"):
        download_dataset(imagenet, out)
    (out / RECORD).unlink()
    assert "their content is not verified" in download_dataset(imagenet, out)[0]
    assert server.requests == []


def test_an_interrupted_download_is_resumed(imagenet: DatasetInfo, server: Any, tmp_path: Path) -> None:
    out = tmp_path / "v2"
    server.breaks = [5_000, *[0] * 5]
    with pytest.raises(DownloadError) as caught:
        download_dataset(imagenet, out)
    part = tmp_path / "v2.download" / "v2.tar.gz.part"
    assert f"the connection broke; the 0.0 MB received are kept in {part}" in str(caught.value)
    assert str(caught.value).endswith("\ndownload it on a machine with network access, and pass it with --archive FILE")
    assert part.stat().st_size == 5_000
    assert not out.exists()
    server.requests.clear()
    download_dataset(imagenet, out)
    assert server.requests == [("GET /v2.tar.gz", "bytes=5000-")]
    assert [path.name for path in tmp_path.iterdir()] == ["v2"]


def test_a_killed_unpacking_is_repeated_without_a_download(imagenet: DatasetInfo, server: Any, tmp_path: Path) -> None:
    work = tmp_path / "v2.download"
    (work / "unpacked" / "half").mkdir(parents=True)
    (work / ".unpacked.unpacking").mkdir()
    (work / "v2.tar.gz").write_bytes(server.files["/v2.tar.gz"])
    download_dataset(imagenet, tmp_path / "v2")
    assert server.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["v2"]


def test_an_archive_downloaded_by_hand(imagenet: DatasetInfo, server: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.tar.gz"
    mine.write_bytes(server.files["/v2.tar.gz"])
    (tmp_path / "v2").mkdir()  # an empty folder may be replaced
    download_dataset(imagenet, tmp_path / "v2", archive=mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tar.gz", "v2"]
    assert server.requests == []
    mine.write_bytes(b"x")
    with pytest.raises(DownloadError, match=r"mine.tar.gz has 1 bytes, but v2.tar.gz as published has"):
        download_dataset(imagenet, tmp_path / "other", archive=mine)
    with pytest.raises(DataError, match="none: no such archive"):
        download_dataset(imagenet, tmp_path / "other", archive=tmp_path / "none")
    with pytest.raises(DataError, match=r"mine.tar.gz is a file: choose another folder with --out"):
        download_dataset(imagenet, mine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tar.gz", "v2"]


def test_an_incomplete_data_set_does_not_get_its_name(imagenet: DatasetInfo, tmp_path: Path) -> None:
    more = replace(imagenet, check=FolderLayout(images=10_000, classes=1_000).check)
    with pytest.raises(DataError) as caught:
        download_dataset(more, tmp_path / "v2")
    assert "expected 10,000 images, found 8; expected 1,000 folders with images, found 4" in str(caught.value)
    # The archive is the published one, so it is kept: the next call need not download it again.
    assert [path.name for path in (tmp_path / "v2.download").iterdir()] == ["v2.tar.gz"]
    assert not (tmp_path / "v2").exists()


def test_free_space_is_checked_first(imagenet: DatasetInfo, server: Any, tmp_path: Path) -> None:
    assert isinstance(imagenet.origin, RemoteFile)
    large = replace(imagenet, origin=replace(imagenet.origin, bytes=10**15))
    with pytest.raises(DataError, match="MB are needed to download and unpack imagenetv2-top-images, but"):
        download_dataset(large, tmp_path / "v2")
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", ["flat", "one folder", "inner zips"])
def test_dog_breeds_from_a_zip(tmp_path: Path, layout: str) -> None:
    files = dog_files()
    if layout == "one folder":
        files = {f"dog-breed-identification/{name}": data for name, data in files.items()}
        files["__MACOSX/._x"] = b"1"
    if layout == "inner zips":
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
    lines = download_dataset(DOGS, out, archive=archive)
    assert lines == [
        f"12 rows with their images, 2 breeds, 1 images to predict in test: {out}",
        f"next: headstart fit '{out}'",
    ]
    manifest = read(out)
    assert (len(manifest), manifest.classes, set(manifest.splits)) == (12, ("boston_bull", "pug"), {"train"})
    assert all(Path(uri).parent == out / "train" for uri in manifest.uris)
    assert (out / "sample_submission.csv").read_bytes() == dog_files()["sample_submission.csv"]
    record = json.loads((out / RECORD).read_text())
    assert record["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert "unchanged since they were unpacked" in download_dataset(DOGS, out)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dog breeds", "kaggle.zip"]


def test_fit_works_on_the_layout_of_dog_breeds(tmp_path: Path, fitted: Callable[..., Any]) -> None:
    (tmp_path / "kaggle.zip").write_bytes(zipped(dog_files()))
    download_dataset(DOGS, tmp_path / "dog-breeds", archive=tmp_path / "kaggle.zip")
    done = fitted(tmp_path / "dog-breeds")
    assert done.classifier.classes == ("boston_bull", "pug")
    assert len(done.manifest) == 12


@pytest.mark.skipif(not importlib.util.find_spec("kagglehub"), reason="kagglehub (the extra kaggle) is not installed")
@pytest.mark.filterwarnings("default")  # of another package's imports
def test_dog_breeds_from_kaggle_s_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client returns what it has cached without network and credentials."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    cached = tmp_path / "cache" / "competitions" / "dog-breed-identification"
    for name, data in dog_files().items():
        (cached / name).parent.mkdir(parents=True, exist_ok=True)
        (cached / name).write_bytes(data)
    cached.with_name(f"{cached.name}.complete").touch()
    (cached / ".hidden").touch()
    out = tmp_path / "dog-breeds"
    assert download_dataset(DOGS, out)[0].startswith("12 rows with their images, 2 breeds, 1 images to predict")
    assert len(read(out)) == 12
    assert (cached / "labels.csv").exists()
    assert not (out / ".hidden").exists()
    assert "unchanged since they were unpacked" in download_dataset(DOGS, out)[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "dog-breeds"]


def test_an_unsafe_zip(tmp_path: Path) -> None:
    (tmp_path / "kaggle.zip").write_bytes(zipped({**dog_files(), "../labels.csv": b"id,breed\n"}))
    with pytest.raises(DataError, match=r"kaggle.zip: its member '\.\./labels.csv' is a path outside the folder"):
        download_dataset(DOGS, tmp_path / "dog-breeds", archive=tmp_path / "kaggle.zip")
    files = {name: data for name, data in dog_files().items() if not name.startswith("test/")}
    (tmp_path / "kaggle.zip").write_bytes(zipped({**files, "test.zip": zipped({"../../labels.csv": b"x"})}))
    with pytest.raises(DataError, match=r"test.zip: its member '\.\./\.\./labels.csv' is a path outside the folder"):
        download_dataset(DOGS, tmp_path / "dog-breeds", archive=tmp_path / "kaggle.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["kaggle.zip"]


def test_targets_that_cannot_be_used(
    imagenet: DatasetInfo, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^\. is the current folder: name a new one with --out$"):
        download_dataset(imagenet, Path())
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"below: cannot be written \(.*file is a file, not a folder\)"):
        download_dataset(imagenet, tmp_path / "file" / "below")
    assert server.requests == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    assert download_dataset(imagenet, Path("link"))[0] == "8 images in 4 folders: link"
    assert (tmp_path / "elsewhere" / RECORD).exists()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.shared
def test_the_real_dog_breeds(shared: Path, tmp_path: Path) -> None:
    """As many images, breeds and rows as in the competition, from a zip."""
    archive = tmp_path / "dog-breed-identification.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [shared / "dogs120" / "labels.csv", *(shared / "dogs120" / "train").iterdir()]:
            file.write(path, path.relative_to(shared / "dogs120"))
    out = tmp_path / "dog-breeds"
    assert (
        downloading.download_dog_breeds(out, archive=archive)[0] == f"10,222 rows with their images, 120 breeds: {out}"
    )
    assert len(read(out).classes) == 120
    assert "unchanged" in downloading.download_dog_breeds(out)[0]
