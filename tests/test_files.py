"""Files are written completely or not at all."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.errors import OutputError
from headstart.files import (
    atomic_write,
    check_writable,
    clear_remains,
    finish_replacing,
    is_stream,
    prepare_folder,
    reason_of,
    replace_together,
    write_bytes,
    write_json,
    write_or_keep,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_write_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "run.json"
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_text(path, "나비\n")
    assert path.read_bytes() == "나비\n".encode()
    assert names(path.parent) == ["run.json"]


def test_the_last_of_two_writes_wins(tmp_path: Path) -> None:
    for text in ("a long first text", "short"):
        write_text(tmp_path / "a.txt", text)
    assert (tmp_path / "a.txt").read_text() == "short"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stays_while_the_new_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_text(path, "old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent.parent == path.parent  # a rename to another disk would not be one step
        assert temporary.suffix == ".safetensors"  # some writers choose their format by it
        assert temporary.parent.name.startswith(".")  # hidden from whoever lists the folder meanwhile
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["a", ".hidden", "a.tar.gz", "with space.csv", "#?%41.json", "나비.txt"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert names(tmp_path) == [name]


def _write_many(path: str, letter: str) -> None:
    for _ in range(30):
        write_text(Path(path), letter * 10_000)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "a" * 10_000)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(path), letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in ("a" * 10_000, "b" * 10_000)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match=os.strerror(21)):
        write_text(tmp_path / "a", "text")
    assert names(tmp_path) == ["a"]


def _is_utf8(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values.filter(_is_utf8))
def test_json_round_trip(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def test_json_is_readable_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "나비", "n": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "나비",\n  "n": 1\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_rejected(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": value})
    assert names(tmp_path) == []


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "a.csv", tmp_path / "a.csv"
    link.symlink_to("elsewhere/a.csv")
    for text in ("first", "second"):  # of a target that is missing, and of one that is there
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert (names(tmp_path), names(target.parent)) == (["a.csv", "elsewhere"], ["a.csv"])


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "a.csv"
    link.symlink_to("a.csv")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        write_text(link, "text")
    assert link.is_symlink()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "a,b\n" * 100_000)
    reader.join(30)
    assert received == ["a,b\n" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe.csv"]


def test_a_device_is_written_to() -> None:
    assert is_stream(Path("/dev/null"))
    write_text(Path("/dev/null"), "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(Path("/dev/full"), "text")
    assert caught.value.filename == "/dev/full"


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_an_open_file_is_continued(tmp_path: Path, name: str) -> None:
    """Opened by its name, the file behind standard output would be written from its beginning."""
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    code = (
        "from pathlib import Path; from headstart.files import write_text; print('before'); "
        f"write_text(Path({name!r}), 'text\\n'); print('after')"
    )
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\ntext\nafter\n"


def test_the_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(FileExistsError) as caught:
        write_text(tmp_path / "a" / "b.json", "text")
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(IsADirectoryError) as found:
        write_text(tmp_path, "text")
    assert found.value.filename == str(tmp_path)


def _limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then write() fails with EFBIG, as on a disk that is full
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    for path in (tmp_path / "new", tmp_path / "old", tmp_path / "deep" / "er" / "new"):
        check_writable(path)
    for folder in (tmp_path, tmp_path / "deep" / "er"):
        check_writable(folder, folder=True)
    check_writable(Path("/dev/null"))
    assert (names(tmp_path), (tmp_path / "old").read_text()) == (["old"], "old")


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "loop").symlink_to("loop")
    long = "n" * 300
    for path, folder, reason in (
        (tmp_path, False, "it is a folder"),
        (tmp_path / "file", True, "it is a file, not a folder"),
        (tmp_path / "file" / "a", False, f"{tmp_path / 'file'} is a file, not a folder"),
        (tmp_path / "file" / "a", True, f"{tmp_path / 'file'} is a file, not a folder"),
        (tmp_path / long, True, "the name is too long"),
        (tmp_path / long, False, "the name is too long"),
        (tmp_path / "loop", False, os.strerror(errno.ELOOP)),
    ):
        with pytest.raises(OutputError) as caught:
            check_writable(path, folder=folder, option="--csv")
        assert str(caught.value) == f"{path}: cannot be written ({reason}); choose another place with --csv"
    with pytest.raises(OutputError, match=r"cannot be written \(it is a folder\)$"):
        check_writable(tmp_path, option=None)
    assert names(tmp_path) == ["file", "loop"]


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")  # the child neither reads nor writes with it
def test_a_disk_without_space_is_told_before_the_work(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from headstart.files import check_writable; "
        f"check_writable(Path({str(tmp_path / 'run')!r}), folder=True)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=_limit_file_size, check=False
    )
    assert ran.stderr.splitlines()[-1].endswith(
        "/run: cannot be written (the file would be larger than this system allows); choose another place with --out"
    )
    assert names(tmp_path) == []


def test_a_result_that_cannot_be_written_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    place = tmp_path / "file" / "run"
    with pytest.raises(OutputError) as caught:
        write_or_keep(place, lambda folder: write_text(folder / "a.txt", "hours of work"))
    (kept,) = tmp_path.glob("tmp/*/run/a.txt")
    assert kept.read_text() == "hours of work"
    assert str(caught.value) == (
        f"{place}: cannot be written (a part of the path is a file, not a folder); the result was written to "
        f"{kept.parent} instead"
    )
    with pytest.raises(OutputError, match=r"nor can .*: the result is lost"):
        write_or_keep(Path("/dev/full"), lambda _: write_text(Path("/dev/full"), "text"))
    with pytest.raises(TypeError):  # a mistake of the code is shown as it is
        write_or_keep(place, lambda _: len(None))  # type: ignore[arg-type]
    assert write_or_keep(tmp_path / "fine", lambda path: path.name) == "fine"


def test_reasons() -> None:
    assert reason_of(OSError(errno.EDQUOT, "")) == "the quota of the disk is used up"
    assert reason_of(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert reason_of(OSError("unusual")) == "unusual"
    assert reason_of(RuntimeError()) == "RuntimeError"


WRITER = """
import sys, time
from pathlib import Path
from headstart.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of it")
    temporary.with_name("other.bin").write_text("what a library wrote beside it")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_cleared_and_what_is_in_use_stays(tmp_path: Path) -> None:
    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(tmp_path / "a.json")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    killed = begin()
    killed.kill()
    killed.communicate()
    (left,) = tmp_path.iterdir()
    living = begin()
    try:
        assert len(names(tmp_path)) == 2
        prepare_folder(tmp_path)
        assert not left.exists()
        assert len(names(tmp_path)) == 1
        assert list(tmp_path.glob("*.json")) == []
    finally:
        living.kill()
        living.communicate()
    clear_remains(tmp_path)
    assert names(tmp_path) == []
    clear_remains(tmp_path / "nowhere")


def test_files_are_replaced_together(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "evaluations").mkdir(parents=True)
    (folder / "model.json").write_text("old")
    with replace_together(folder) as new:
        write_text(new / "model.json", "new")
        write_text(new / "classifier" / "weights", "new")
        assert (folder / "model.json").read_text() == "old"
    assert (folder / "model.json").read_text() == (folder / "classifier" / "weights").read_text() == "new"
    assert names(folder) == ["classifier", "evaluations", "model.json"]

    def fail() -> None:
        with replace_together(folder) as new:
            write_text(new / "model.json", "newer")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fail()
    assert (folder / "model.json").read_text() == "new"
    assert names(folder) == ["classifier", "evaluations", "model.json"]


def test_what_is_outdated_is_removed_when_nothing_can_fail_any_more(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("old")

    def replace(text: str | None) -> None:
        with replace_together(tmp_path, remove_outdated=(tmp_path / "report").unlink) as new:
            if text is None:
                raise RuntimeError("the disk is full")
            write_text(new / "model.json", text)

    with pytest.raises(RuntimeError, match="the disk is full"):
        replace(None)
    assert names(tmp_path) == ["report"]
    replace("new")
    assert names(tmp_path) == ["model.json"]


def test_an_unfinished_replacement_goes_through_no_link(tmp_path: Path) -> None:
    """A folder that was received from someone else could write anywhere."""
    folder, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (folder / "classifier").symlink_to(outside)
    write_text(folder / ".headstart.complete" / "classifier" / "weights", "foreign")
    finish_replacing(folder)
    assert names(outside) == []
    assert (folder / "classifier" / "weights").read_text() == "foreign"
    assert not (folder / "classifier").is_symlink()
    (outside / "mine").write_text("mine")
    (folder / ".headstart.complete").symlink_to(outside)
    finish_replacing(folder)
    (folder / ".headstart-link").symlink_to(outside)
    (folder / ".headstart-folder").mkdir()
    (folder / ".headstart-folder" / "lock").symlink_to(outside / "lock")
    clear_remains(folder)
    assert names(outside) == ["mine"]


REPLACER = """
import os, signal, sys
from pathlib import Path
from headstart import files
calls = 0
def counted(*arguments, original=os.replace):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    original(*arguments)
os.replace = counted
with files.replace_together(Path(sys.argv[1])) as new:
    for number in range(3):
        files.write_text(new / str(number) / "file", "new")
print(calls)
"""


def test_a_replacement_that_is_killed_at_any_rename_is_whole_afterwards(tmp_path: Path) -> None:
    found = []
    for moment in range(1, 9):
        folder = tmp_path / str(moment)
        for number in range(3):
            write_text(folder / str(number) / "file", "old")
        ran = subprocess.run(
            [sys.executable, "-c", REPLACER, folder, str(moment)], capture_output=True, text=True, check=False
        )
        prepare_folder(folder)
        (state,) = {(folder / str(number) / "file").read_text() for number in range(3)}  # all of them are the same
        found.append(state)
        assert names(folder) == ["0", "1", "2"]
    assert found == ["old"] * 4 + ["new"] * 4
    assert (ran.returncode, ran.stdout) == (0, "7\n")
    finish_replacing(folder)
