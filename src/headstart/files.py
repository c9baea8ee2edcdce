"""Writing files: each is complete or absent, and a place that cannot be written is told before the work begins.

A file is written in a temporary folder beside its place and renamed into it. The process that writes holds a lock on
that folder, so that :func:`clear_remains` can tell what a killed process left from what is in use.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from headstart.errors import HeadstartError, OutputError

__all__ = [
    "atomic_write",
    "check_writable",
    "clear_remains",
    "finish_replacing",
    "is_stream",
    "lock_file",
    "prepare_folder",
    "reason_of",
    "replace_together",
    "temporary_folder",
    "write_bytes",
    "write_json",
    "write_or_keep",
    "write_text",
]

_PREFIX = ".headstart-"  # of temporary folders
_LOCK = "lock"
_COMPLETE = ".headstart.complete"  # a folder with files that only have to be moved to their places
_ADDRESSES = ("s3:", "gs:", "abfs:", "hf:", "http:", "https:")
_TRIAL_BYTES = 4096  # one block: a file without content may fit on a full disk
_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # what file systems without fsync answer
_MISTAKES = (TypeError, AttributeError, NameError, LookupError, AssertionError)  # of the code, not of the disk
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "it is a file, not a folder",  # where a folder was to be made
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENOENT: "no such file or folder",
    errno.EFBIG: "the file would be larger than this system allows",
    errno.ENAMETOOLONG: "the name is too long",
}

T = TypeVar("T")

if sys.platform == "win32":
    import msvcrt

    def _flock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _flock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces ``path`` when the block succeeds, else it is removed.

    A link stays: what it leads to is replaced. A pipe, a device or an open file of this process (``/dev/stdout``) is
    written to. A file is on the disk, not only in the memory of the system, before it replaces another one: after a
    power failure ``path`` is the old file or the new one.

    :raises OSError: ``path`` cannot be written; it is the ``filename`` of the error.
    """
    work: Path | None = None
    try:
        if is_stream(path):
            import tempfile

            with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
                work = Path(folder)
                yield work / path.name
                _copy(work / path.name, path)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target.parent) as work:
            temporary = work / target.name
            yield temporary
            if not any(part.startswith(_PREFIX) for part in target.parent.parts):  # those are synced together
                _sync(temporary)
            os.replace(temporary, target)  # noqa: PTH105 - as Path.replace, but its name says that it overwrites
    except OSError as failure:
        if failure.filename is None or (work is not None and str(failure.filename).startswith(str(work))):
            failure.filename = str(path)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically: a reader sees the old file or the new one, never half of one."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, atomically.

    :raises ValueError: a number is NaN or infinite, which JSON cannot express.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replace_together(folder: Path, *, remove_outdated: Callable[[], object] | None = None) -> Iterator[Path]:
    """Yield an empty folder to fill; then its files replace those of the same names in ``folder``: all, or none.

    Whatever else is in ``folder`` stays, but for what killed processes left. If the process is killed while the files
    are moved, the next one moves the others (:func:`finish_replacing`).

    :param remove_outdated: called when nothing more can be missing on the disk, to remove other files that belong to
        the old ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finish_replacing(folder)
    clear_remains(folder)
    with temporary_folder(folder) as work:
        new = work / "new"
        new.mkdir()
        yield new
        _sync(new, *new.rglob("*"))
        if remove_outdated is not None:
            remove_outdated()
        os.replace(new, folder / _COMPLETE)  # noqa: PTH105
        _sync(folder)
    finish_replacing(folder)


def finish_replacing(folder: Path) -> None:
    """Move the files that :func:`replace_together` had written when it was killed to their places; else do nothing.

    Links are replaced, not followed: a folder that someone else has made must not choose where files are moved to.
    """
    complete = folder / _COMPLETE
    if complete.is_symlink() or not complete.is_dir():
        return
    for path in sorted(complete.rglob("*")):
        place = folder / path.relative_to(complete)
        if path.is_dir() and not path.is_symlink():
            if place.is_symlink():
                place.unlink()
            place.mkdir(exist_ok=True)
        else:
            with suppress(FileNotFoundError):  # another process moves them too
                os.replace(path, place)  # noqa: PTH105
    _sync(*(folder / path.relative_to(complete) for path in (complete, *complete.rglob("*"))))
    _remove(complete)


def is_stream(path: Path) -> bool:
    """Whether ``path`` is a pipe, a character device or an open file of this process: written to, never replaced.

    :raises OSError: it is a block device or a socket, or links lead from it to itself.
    """
    if _open_file(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return False
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return True
    raise OSError(errno.EINVAL, "neither a file, a pipe nor a character device", str(path))


def _open_file(path: Path) -> int | None:
    """The number of the open file that ``/dev/stdout``, ``/dev/fd/3`` and the like mean; None for any other path."""
    open_files = os.path.realpath("/proc/self/fd")
    seen, name = set[str](), os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."
    while name not in seen:
        seen.add(name)
        folder, number = os.path.split(name)
        if number.isdecimal() and os.path.realpath(folder) == open_files:
            return int(number)
        if not os.path.islink(name):  # noqa: PTH114
            return None
        name = os.path.normpath(os.path.join(folder, os.readlink(name)))  # noqa: PTH115, PTH118
    return None


def _copy(source: Path, stream: Path) -> None:
    number = _open_file(stream)
    if number is not None:  # opened anew, a file would be written from its beginning again
        for each in (sys.stdout, sys.stderr):
            if each is not None:
                each.flush()
    target = os.open(stream, os.O_WRONLY) if number is None else os.dup(number)
    with source.open("rb") as file, os.fdopen(target, "wb") as out:
        import shutil

        shutil.copyfileobj(file, out)


def check_writable(path: Path, *, folder: bool = False, option: str | None = "--out") -> None:
    """Check by a trial that a file can be written at ``path``, before the work whose result it is to hold.

    :param folder: ``path`` is a folder that is to hold files.
    :param option: of the command line, by which another place is chosen, if there is one.
    :raises OutputError: it cannot; the message says why, and names the option.
    """
    if path.parts and path.parts[0] in _ADDRESSES:
        address = f"{path.parts[0]}//{'/'.join(path.parts[1:])}"  # a path has one slash where the address had two
        other = f"; choose a folder with {option}" * (option is not None)
        raise OutputError(f"{address}: results are written here, and headstart push puts a run there{other}")
    existing = path
    try:
        if folder and path.exists() and not path.is_dir():
            raise FileExistsError(errno.EEXIST, "")
        if not folder and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        if not folder and is_stream(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, "")
            return
        existing = Path(os.path.realpath(path))
        existing = existing if folder else existing.parent
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        with temporary_folder(existing) as work:
            trial = work / (Path(os.path.realpath(path)).name or "trial")
            trial.write_bytes(bytes(_TRIAL_BYTES))
            _sync(trial)
    except OSError as failure:
        reason = reason_of(failure)
        if failure.errno == errno.ENOTDIR:
            reason = f"{existing} is a file, not a folder"
        advice = ["free some space"] * (failure.errno in (errno.ENOSPC, errno.EDQUOT))
        advice += [f"choose another place with {option}"] * (option is not None)
        raise OutputError(
            f"{path}: cannot be written ({reason})" + "; " * bool(advice) + ", or ".join(advice)
        ) from failure


def prepare_folder(folder: Path, *, option: str = "--out") -> None:
    """Check by a trial that ``folder`` can hold files, and remove what a killed process left of an earlier try.

    :raises OutputError: as :func:`check_writable`.
    """
    check_writable(folder, folder=True, option=option)
    finish_replacing(folder)
    clear_remains(folder)


def write_or_keep(path: Path, write: Callable[[Path], T]) -> T:
    """Call ``write(path)``; where that fails, write to a temporary folder, so that what was computed is not lost.

    :raises OutputError: it was written there; the message says where. Or it could be written nowhere.
    """
    try:
        return write(path)
    except (HeadstartError, *_MISTAKES):
        raise
    except Exception as failure:  # OSError, or what the library that writes raises instead
        import tempfile

        reason = reason_of(failure)
        elsewhere = Path(tempfile.mkdtemp(prefix="headstart-"))
        try:
            write(elsewhere / path.name)
        except Exception as second:
            _remove(elsewhere)
            raise OutputError(
                f"{path}: cannot be written ({reason}), nor can {elsewhere} ({reason_of(second)}): the result is lost; "
                "what headstart keeps in its cache is not, and the same command continues from there"
            ) from failure
        raise OutputError(
            f"{path}: cannot be written ({reason}); the result was written to {elsewhere / path.name} instead"
        ) from failure


def reason_of(failure: Exception) -> str:
    """Why a file cannot be written or read, in a few words.

    >>> reason_of(OSError(28, "No space left on device"))
    'the disk is full'
    """
    if isinstance(failure, OSError) and failure.errno is not None:
        return _REASONS.get(failure.errno) or failure.strerror or os.strerror(failure.errno)
    return " ".join(str(failure).split()) or type(failure).__name__


def clear_remains(*folders: Path) -> None:
    """Remove the temporary folders directly in ``folders`` that killed processes left; those in use stay."""
    for folder in folders:
        with suppress(OSError):
            for work in [each for each in folder.iterdir() if each.name.startswith(_PREFIX) and not each.is_symlink()]:
                with suppress(OSError):  # in use, of another user, or on a file system without locks
                    os.close(_lock(work))
                    _remove(work)


def _remove(folder: Path) -> None:
    import shutil  # here, since it imports compression, which `headstart --help` does without

    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in ``parent``; it is removed after the block, or by :func:`clear_remains` after a kill."""
    work, lock = _create_temporary_folder(parent)
    try:
        yield work
    finally:
        if lock is not None:
            os.close(lock)
        _remove(work)


def _create_temporary_folder(parent: Path) -> tuple[Path, int | None]:
    import tempfile  # here, since `headstart --help` does without it

    while True:
        work = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            return work, _lock(work)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process took the folder for a remain before it was locked
        except OSError:  # without a lock it works as well, but a remain of it is never cleared
            return work, None


def lock_file(path: Path) -> int:
    """Make a file if it is missing, and lock it until the returned handle is closed or the process ends.

    :raises BlockingIOError: another process, or another handle of this one, has locked it.
    :raises OSError: it cannot be made, or the file system has no locks.
    """
    handle = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        _flock(handle)
    except OSError:
        os.close(handle)
        raise
    return handle


def _lock(work: Path) -> int:
    """Lock a temporary folder until the returned handle is closed, at the latest by the end of the process.

    :raises BlockingIOError: it is in use.
    :raises OSError: there is no such folder, or no locks.
    """
    handle = lock_file(work / _LOCK)
    if not os.fstat(handle).st_nlink:
        os.close(handle)
        raise BlockingIOError(errno.EAGAIN, "just being removed", str(work))
    return handle


def _sync(*paths: Path) -> None:
    """Wait until files, or the names in folders, are on the disk; a power failure may lose them until then."""
    if sys.platform == "win32":
        return  # it syncs neither folders nor what is open for reading
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(paths)) as pool:  # waiting for all at once takes about as long as for one
        list(pool.map(_sync_one, paths))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as failure:
        if failure.errno not in _NOT_SYNCED:
            raise
    finally:
        os.close(handle)
