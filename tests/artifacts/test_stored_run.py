"""Runs at an address: a local server of S3's protocol that runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart import paths
from headstart.artifacts.stored_run import files_of, put_run
from headstart.data.sources import remote
from headstart.errors import OutputError, RunError
from headstart.workflow.fit import fit
from headstart.workflow.reading import read
from headstart.workflow.runs import finish_run

Headstart = Callable[..., tuple[int, str, str]]
PLACE = "s3://teams/runs/pets"


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The file system of an empty bucket, s3://teams, and a cache folder of its own."""
    import s3fs

    files = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=s3, use_listings_cache=False)
    files.mkdir("teams")
    monkeypatch.setattr(remote, "_SYSTEMS", {})
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    yield files
    files.rm("teams", recursive=True)


def fitted(folder: Path, photos: Path) -> Path:
    settings = hs.FitSettings("test_resnet", weights="random", train="head", stages="none", kernel="none")
    finish_run(fit(read(str(photos)), settings), folder)
    return folder


@pytest.fixture
def pets(write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path, bucket: Any) -> Path:
    """A run; the bucket is there, too."""
    assert bucket.exists("teams")
    return fitted(tmp_path / "pets", write_noise(tmp_path / "photos", {"dark": 30, "light": 120}))


def test_a_run_is_put_at_an_address_and_used_from_there(
    bucket: Any, pets: Path, run: Headstart, tmp_path: Path
) -> None:
    names = {each.relative_to(pets).as_posix() for each in pets.rglob("*") if each.is_file()}
    assert {"manifest.parquet", "report.html", "classifier/model.safetensors"} < names
    code, printed, _ = run("push", pets, PLACE, "--dry-run")
    assert (code, len(printed.splitlines())) == (0, len(names))
    assert bucket.find("teams") == []
    assert run("push", pets, PLACE)[:2] == (0, f"{PLACE}\n")
    assert {each.removeprefix("teams/runs/pets/") for each in bucket.find("teams")} == names
    picture = tmp_path / "photos" / "dark" / "3.png"
    code, expected, _ = run("predict", pets, picture)
    assert code == 0
    assert run("predict", PLACE, picture)[:2] == (0, expected)
    fetched = {each.name for each in paths.runs().rglob("*") if each.is_file()}
    assert fetched == {"model.json", "model.safetensors", "ood_detector.safetensors"}


def test_another_version_replaces_the_first(
    bucket: Any, pets: Path, write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path
) -> None:
    put_run(pets, PLACE)
    assert hs.load(PLACE).classes == ("dark", "light")
    other = fitted(tmp_path / "other", write_noise(tmp_path / "more", {"black": 0, "gray": 60, "white": 180}))
    (other / "report.html").unlink()
    put_run(other, PLACE)
    assert hs.load(PLACE).classes == ("black", "gray", "white")
    assert not bucket.exists("teams/runs/pets/report.html")
    assert len(list(paths.runs().iterdir())) == 2
    assert {each.removeprefix("teams/runs/pets/") for each in bucket.find("teams")} == {*files_of(other)}


def test_it_is_fetched_once(bucket: Any, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_run(pets, PLACE)
    assert bucket.exists("teams/runs/pets/classifier/model.json")
    hs.load(PLACE)
    monkeypatch.setattr(type(remote.file_system(PLACE)), "get_file", None)
    assert hs.load(PLACE).classes == ("dark", "light")


def test_what_is_no_run_is_left_alone(bucket: Any, pets: Path) -> None:
    bucket.pipe("teams/runs/pets/letter.txt", b"dear")
    with pytest.raises(OutputError, match=rf"^{PLACE}: something is there that is no run \(letter.txt\); choose"):
        put_run(pets, PLACE)
    assert bucket.find("teams") == ["teams/runs/pets/letter.txt"]
    with pytest.raises(RunError, match=rf"^{PLACE}: no classifier of headstart is there"):
        hs.load(PLACE)


def test_mistakes(bucket: Any, pets: Path, run: Headstart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bucket.exists("teams")
    code, _, told = run("push", pets, PLACE, "--public")
    assert (code, "--public and --no-report are for the hub" in told) == (2, True)
    code, _, told = run("push", tmp_path / "photos", PLACE)
    assert (code, "has no classifier to put there" in told) == (1, True)
    with pytest.raises(OutputError, match=r"^s3://no-such-bucket/a: cannot be written: .*bucket does not exist; check"):
        put_run(pets, "s3://no-such-bucket/a")
    code, _, told = run("fit", tmp_path / "photos", "--out", "s3://teams/new", "--train", "head")
    assert (code, "s3://teams/new: results are written here, and headstart push" in told) == (1, True)
    assert not Path("s3:").exists()
    monkeypatch.setattr(remote, "_SYSTEMS", {})

    def filesystem(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.filesystem", filesystem)
    with pytest.raises(RunError, match=r'^s3:// needs a package .* run pip install "headstart\[remote]"'):
        hs.load(PLACE)
