"""ONNX Runtime Web, the part of an exported page that runs the network: one version, whose files have known digests."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headstart import paths
from headstart.errors import ModelError, SettingsError
from headstart.files import write_bytes

__all__ = ["VERSION", "WebRuntime", "load_web_runtime"]

VERSION = "1.30.0"
_PACKAGE = f"onnxruntime-web@{VERSION}"
_SHA256 = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""The files that a page needs, of the folder ``dist`` of the package."""
_TIMEOUT = 600  # seconds; the package has 33 MB


@dataclass(frozen=True)
class WebRuntime:
    """The content of the files."""

    code: bytes  # a module of JavaScript
    wasm: bytes


def load_web_runtime(place: Path | None = None) -> WebRuntime:
    """Read the runtime from a folder or archive, else from the cache, into which npm brings it the first time.

    :param place: the unpacked npm package, its folder ``dist``, or its ``.tgz`` file.
    :raises SettingsError: a file is missing or of another version, or npm is not installed.
    :raises ModelError: npm cannot fetch the package.
    """
    if place is not None:
        return _checked(_from_archive(place) if place.is_file() else _from_folder(place), str(place))
    cached = paths.root() / "runtimes" / f"onnxruntime-web-{VERSION}"
    if not all((cached / name).is_file() for name in _SHA256):
        for name, content in _fetch().items():
            write_bytes(cached / name, content)
    return _checked(_from_folder(cached), str(cached))


def _from_folder(folder: Path) -> dict[str, bytes]:
    inside = next((each for each in (folder, folder / "dist", folder / "package" / "dist") if _has_all(each)), None)
    if inside is None:
        raise SettingsError(f"--runtime {folder}: has no {' and '.join(_SHA256)} of the npm package {_PACKAGE}")
    return {name: (inside / name).read_bytes() for name in _SHA256}


def _has_all(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _SHA256)


def _from_archive(path: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(path) as archive:
            for name in _SHA256:
                member = archive.extractfile(f"package/dist/{name}")
                found[name] = b"" if member is None else member.read()
    except (tarfile.TarError, KeyError, OSError, EOFError) as failure:
        raise SettingsError(
            f"--runtime {path}: is not the archive of the npm package {_PACKAGE} ({failure})"
        ) from failure
    return found


def _fetch() -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise SettingsError(
            f"--to html needs the npm package {_PACKAGE}, and npm is not installed: get the package on another machine "
            f'with "npm pack {_PACKAGE}", and give its .tgz file as --runtime'
        )
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        try:
            done = subprocess.run(
                [npm, "pack", "--silent", "--ignore-scripts", _PACKAGE],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
            reason = done.stderr.strip().split("\n")[0]
        except subprocess.TimeoutExpired:
            reason = f"no answer within {_TIMEOUT} s"
        archive = next(iter(Path(folder).glob("*.tgz")), None)
        if archive is None:
            raise ModelError(
                f"npm cannot fetch {_PACKAGE} ({reason}); get it on another machine with npm pack, and give its .tgz "
                "file as --runtime"
            )
        return _from_archive(archive)


def _checked(files: dict[str, bytes], where: str) -> WebRuntime:
    for name, expected in _SHA256.items():
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise SettingsError(
                f"{where}: {name} is not that of the npm package {_PACKAGE}; give that one as --runtime"
            )
    return WebRuntime(*(files[name] for name in _SHA256))
