"""First reading of foreign files in a process of its own, with limits on time and memory.

A damaged ONNX, SavedModel or HDF5 file can crash the library that reads it, or keep it busy forever. A file that the
separate process has read is safe to read here, and is recognized by its content the next time: what came of it is kept
in the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from headstart import __version__, paths
from headstart.documents import read_document, write_document
from headstart.errors import ModelError, RunError
from headstart.files import clear_remains, temporary_folder
from headstart.models.importers.keras.unsupported import UnsupportedNetwork

__all__ = ["Limits", "Outcome", "forget", "read_isolated"]

_WORKER = Path(__file__).with_name("worker.py")
_OUTCOME = "outcome.json"
_FORMAT = 1  # raised when the same file would be read in another way
_MAX_READ = 32  # files whose reading is kept
_BLOCK = 1 << 20
_EXTERNAL = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")  # an ONNX tensor whose numbers are in another file


@dataclass(frozen=True)
class Limits:
    """What the process may use."""

    seconds: float
    bytes: int

    @classmethod
    def of(cls, size: int) -> Limits:
        """The limits for files of ``size`` bytes: ten times what a network of that size was seen to need."""
        return cls(seconds=180 + size / 1e6, bytes=(6 << 30) + 12 * size)


@dataclass(frozen=True)
class Outcome:
    """What came of reading a file: nothing more, or an error."""

    error: str = ""
    unsupported: bool = False  # intact, but not a network that this reader knows

    def write(self, folder: Path) -> None:
        """Write ``outcome.json``."""
        write_document(folder / _OUTCOME, self, version=_FORMAT)

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """Read ``outcome.json``; None if there is none, or it is damaged."""
        with suppress(RunError):
            return read_document(cls, folder / _OUTCOME, version=_FORMAT)
        return None

    def check(self) -> None:
        """Raise the error if there is one."""
        if self.error:
            raise UnsupportedNetwork(self.error) if self.unsupported else ModelError(self.error)


@contextmanager
def read_isolated(task: str, path: Path, limits: Limits | None = None) -> Iterator[Path]:
    """Yield a folder with what the reader of a task wrote for a file, from the cache if it was read before.

    :param task: "graph", conversion of a whole network; or "layers", reading of the variables of a Keras network.
    :param path: a file, or the folder of a SavedModel.
    :raises UnsupportedNetwork: the file is intact, but contains another kind of network.
    :raises ModelError: the file is damaged, unsafe or cannot be used; the message does not name it.
    """
    files = _files(path)
    size = sum(file.stat().st_size for file in files)
    kept = paths.imported() / f"{_key(path, files)}-{task}"
    outcome = Outcome.read(kept)
    if outcome is not None:
        outcome.check()
        yield kept
        return
    with _new_folder(kept.parent) as folder:
        outcome = _run(task, path, folder, limits or Limits.of(size))
        place = folder if outcome.error and not outcome.unsupported else _keep(folder, kept)
        outcome.check()
        yield place


def forget(folder: Path) -> None:
    """Remove what was kept of a file, for example because it is damaged."""
    shutil.rmtree(folder, ignore_errors=True)


def _run(task: str, path: Path, folder: Path, limits: Limits) -> Outcome:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "PYTHONWARNINGS": "ignore",
    }
    numbers = [str(int(limits.seconds) + 1), str(limits.bytes)]
    command = [sys.executable, str(_WORKER), task, str(path.resolve()), str(folder), *numbers]
    with tempfile.TemporaryFile() as output:
        # A session of its own, so that it can be stopped together with the processes that it starts.
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            return Outcome(f"damaged, or no network for images: reading it did not end within {limits.seconds:.0f} s")
        finally:
            _stop(process)
        outcome = Outcome.read(folder)
        if outcome is not None:
            return outcome
        output.seek(max(0, output.seek(0, os.SEEK_END) - 4096))
        lines = output.read().decode(errors="replace").strip().splitlines()
    if process.returncode < 0:
        return Outcome(f"damaged: the library that reads it crashed (signal {-process.returncode})")
    return Outcome(f"cannot be read ({(lines or ['no reason given'])[-1][:300]})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _files(path: Path) -> list[Path]:
    """The files that make up a network."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.suffix != ".onnx":
        return [path]
    names = {bytes(name).decode(errors="replace") for name in _external_names(path)}
    beside = (path.parent / name for name in sorted(names) if not Path(name).is_absolute() and ".." not in name)
    return [path, *(file for file in beside if file.is_file())]


def _external_names(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    for found in _EXTERNAL.finditer(data):
        yield data[found.end() : found.end() + found[1][0]]


def _key(path: Path, files: list[Path]) -> str:
    """32 hexadecimal digits of the content of the files, and of everything else that decides how they are read."""
    total = hashlib.blake2b(digest_size=16)
    versions = [_FORMAT, __version__, *map(_version, ("openvino", "keras", "h5py")), "".join(path.suffixes[-2:])]
    total.update(json.dumps(versions).encode())
    for each in files:
        total.update(f"{each.relative_to(path if path.is_dir() else path.parent).as_posix()}".encode() * path.is_dir())
        total.update(f" {each.stat().st_size}\n".encode())
        with each.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
    return total.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in the cache, or elsewhere if nothing can be written there."""
    with ExitStack() as stack:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            clear_remains(parent)
            work = stack.enter_context(temporary_folder(parent))
        except OSError:
            work = stack.enter_context(temporary_folder(Path(tempfile.gettempdir())))
        folder = work / "read"  # of which a rename does not move the lock of the temporary folder
        folder.mkdir()
        yield folder


def _keep(folder: Path, kept: Path) -> Path:
    """Move a folder to its place in the cache, and delete the oldest beyond 32; return where it is then."""
    with suppress(OSError):
        Path(folder).rename(kept)  # fails if another process has just done the same
        newest_last = sorted(kept.parent.glob("*/" + _OUTCOME), key=lambda file: file.stat().st_mtime_ns)
        for old in newest_last[:-_MAX_READ]:
            forget(old.parent)
    return kept if Outcome.read(kept) is not None else folder
