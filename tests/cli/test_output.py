"""Names that a terminal cannot show or must not obey, streams that are closed, and places that cannot be written."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart import paths
from headstart.cli.console import printable
from headstart.errors import SettingsError

Run = Callable[..., tuple[int, str, str]]
HEADSTART = (sys.executable, "-m", "headstart.cli")
TINY = ("--model", "test_efficientnet", "--weights", "random")
ODD = "밝은 \x1b]52;c;aGk=\x07"  # a class that would write into the clipboard


@pytest.fixture
def photos(write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path) -> Path:
    return write_noise(tmp_path / "photos", {ODD: 180, "dark": 30})


def headstart(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "check": False, **options}
    return subprocess.run([*HEADSTART, *map(str, words)], **options)  # noqa: PLW1510 - it is among the options


def test_control_characters_become_escapes() -> None:
    assert printable("나비 é\t\n") == "나비 é\t\n"
    assert printable("\x00\r\x1b[2J\x7f\x9b\u202e\u2066") == r"\x00\r\x1b[2J\x7f\x9b\u202e\u2066"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_terminal_lacks_are_printed_all_the_same(photos: Path, encoding: str) -> None:
    (photos / os.fsdecode(b"\xff.png")).write_bytes(b"not an image")
    ran = headstart("info", photos, env={**os.environ, "PYTHONIOENCODING": encoding}, text=False)
    assert ran.returncode == 0, ran.stderr
    assert b"dark" in ran.stdout
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_gets_no_control_characters(photos: Path, encoding: str) -> None:
    parent, child = pty.openpty()
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = subprocess.run([*HEADSTART, "info", photos], stdout=child, stderr=child, env=env, check=True)
    os.close(child)
    printed = os.read(parent, 1 << 16)  # all of it fits into the buffer of the terminal
    os.close(parent)
    assert ran.returncode == 0
    assert rb"\x1b]52;c;aGk=\x07" in printed
    assert b"\x1b" not in printed


def test_a_file_gets_the_names_as_they_are(photos: Path) -> None:
    assert ODD in headstart("info", photos).stdout


@pytest.mark.parametrize("redirected", ["2>&-", ">&- 2>&-", "2> >(true)"])
def test_closed_streams_do_not_stop_the_work(photos: Path, tmp_path: Path, redirected: str) -> None:
    command = ["bash", "-c", f'"$@" {redirected}', "bash", *HEADSTART, "check", photos, "--out", tmp_path / "checked"]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == 0
    assert (tmp_path / "checked" / "manifest.parquet").read_bytes().startswith(b"PAR1")


COMMANDS = (
    ("fit", "PHOTOS", "--out", "FILE/run"),
    ("fit", "PHOTOS", "--out", "FILE"),
    ("check", "PHOTOS", "--out", "FILE/a"),
    ("show", "PHOTOS", "--out", "FILE/a.png"),
    ("rank", "PHOTOS", "--out", "FILE/a"),
    ("predict", "RUN", "PHOTOS", "--csv", "FILE/a.csv"),
    ("predict", "RUN", "PHOTOS", "--plot", "FILE/a.png"),
    ("predict", "RUN", "PHOTOS", "--format", "kaggle", "--csv", "FILE/a.csv"),
    ("evaluate", "RUN", "PHOTOS", "--out", "FILE/a"),
    ("data", "dog-breeds", "--out", "FILE/a"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_place_that_cannot_be_written_is_told_first(
    run: Run, photos: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("text")
    named = {"PHOTOS": str(photos), "FILE": str(tmp_path / "file"), "RUN": "no such run"}
    place = words[-1].replace("FILE", named["FILE"])
    code, out, err = run(*(named.get(word, word) for word in words[:-1]), place)
    option = "--csv" if words[-2] == "--csv" else words[-2]
    reason = "it is a file, not a folder" if words[-1] == "FILE" else f"{tmp_path / 'file'} is a file, not a folder"
    assert (code, out) == (1, "")
    assert err == f"error: {place}: cannot be written ({reason}); choose another place with {option}\n"


def test_a_run_that_cannot_be_written_at_the_end_is_kept(
    run: Run, photos: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    (folder / "classifier").mkdir(parents=True)
    (folder / "classifier" / "model.json").mkdir()  # where a file is to go
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    code, out, err = run("fit", photos, "--out", folder, "--cache-dir", store, *TINY)
    assert (code, out) == (1, "")
    (kept,) = tmp_path.glob("tmp/headstart-*/run")
    assert err.splitlines()[-1].startswith(f"error: {folder}: cannot be written (")
    assert err.endswith(f"; the result was written to {kept} instead\n")
    assert json.loads((kept / "evaluation.json").read_text())["images"] == 40
    assert (kept / "report.html").exists()
    assert run("predict", kept, photos / "dark" / "0.png")[0] == 0


def test_predictions_go_through_links_and_to_standard_output(
    run: Run, photos: Path, store: Path, tmp_path: Path
) -> None:
    assert run("fit", photos, "--out", tmp_path / "run", "--cache-dir", store, *TINY)[0] == 0
    (tmp_path / "link.csv").symlink_to("target.csv")
    words = ("predict", tmp_path / "run", photos / "dark", "--csv")
    assert run(*words, tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    table = (tmp_path / "target.csv").read_text()
    assert len(table.splitlines()) == 21
    ran = headstart(*words, "/dev/stdout")
    assert (ran.returncode, ran.stdout) == (0, table)
    assert "20 images, 0 with a problem: /dev/stdout" in ran.stderr
    (tmp_path / "bad.jpg").write_bytes(b"")
    code, out, err = run("predict", tmp_path / "run", tmp_path / "bad.jpg")
    assert (code, out.splitlines()[1]) == (1, "  problem: empty file")
    assert err.endswith("error: none of the 1 images can be read\n")


@pytest.mark.parametrize("words", [("fit",), ("predict", "no run", str(Path(__file__).parent))], ids=["fit", "predict"])
def test_a_missing_folder_is_told_without_torch(tmp_path: Path, words: tuple[str, ...]) -> None:
    code = (
        "import sys; from headstart.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *words, str(tmp_path / "nowhere")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "[]\n")
    assert ran.stderr == f"error: {tmp_path / 'nowhere'}: no such folder or file\n"


def test_a_user_without_a_home_folder_has_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError("uid not found")  # as in a container whose user is a mere number

    for name in ("HOME", "XDG_CACHE_HOME", "HEADSTART_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert paths.root() == tmp_path / f"headstart-{os.getuid()}"
    with pytest.raises(SettingsError, match="cache folder ~/cache: the user has no home folder; give the whole path"):
        paths.root("~/cache")


def test_the_cache_folder_is_no_address(run: Run, write_noise: Callable[..., Path], tmp_path: Path) -> None:
    photos = write_noise(tmp_path / "photos", {"dark": 30, "light": 150})
    code, _, err = run("fit", photos, "--out", tmp_path / "run", "--cache-dir", "s3://bucket/cache")
    assert code != 0
    assert "cache folder s3://bucket/cache: must be a folder of this machine or of a shared file system" in err
