"""Cache of networks that were converted for OpenVINO.

Conversion takes seconds, reading a converted network a fraction of a second; benchmarks/speed/predict.py measures its
first run, which converts, apart from the others. A cached network is three files: NAME.xml and NAME.bin as OpenVINO
writes them, and NAME.json with their SHA-256. The JSON file is written last, and without it the others are ignored.
Only networks that returned the same values as torch are cached.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from headstart import __version__
from headstart.data.digests import file_digest
from headstart.data.spec import InputSpec
from headstart.files import atomic_write, write_json
from headstart.models.backbone import digest
from headstart.models.openvino_library import openvino, read_model

__all__ = ["cache_path", "load", "save", "variant_path"]

_FORMAT = 2  # raised when the same network would be cached in another form
_MAX_NETWORKS = 16  # each is about as large as its weights
_SUFFIXES = (".xml", ".bin")


def cache_path(folder: Path, name: str, module: nn.Module, spec: InputSpec, batch_size: int) -> Path:
    """The path, without suffix, for a network of this name with these weights and this input."""
    versions = [__version__, *map(_version, ("torch", "timm", "openvino"))]
    spec = replace(spec, value_ranges=())  # decoding applies them, not the network
    identity = [_FORMAT, name, digest(module), repr(module), repr(spec), batch_size, versions]
    return folder / hashlib.blake2b(json.dumps(identity).encode(), digest_size=16).hexdigest()


def variant_path(path: Path, name: str) -> Path:
    """The path for a variant of the network that is cached at ``path``, for example a quantized one.

    >>> variant_path(Path("prepared/0f"), "int8").name
    '0f-int8'
    """
    return path.with_name(f"{path.name}-{name}")


def load(path: Path) -> Any | None:
    """Read an OpenVINO model; None if there is none or it is damaged."""
    with suppress(OSError, ValueError, RuntimeError):
        digests = json.loads(path.with_suffix(".json").read_text())
        if digests == {suffix: file_digest(path.with_suffix(suffix)) for suffix in _SUFFIXES}:
            return read_model(path.with_suffix(".xml"))
    return None


def save(model: Any, path: Path) -> None:
    """Write an OpenVINO model, and delete the oldest beyond 16. A failure is ignored, since it costs only time."""
    with suppress(OSError, RuntimeError):
        with atomic_write(path.with_suffix(".xml")) as temporary:
            openvino().save_model(model, temporary, compress_to_fp16=False)
            temporary.with_suffix(".bin").replace(path.with_suffix(".bin"))
        digests = {suffix: file_digest(path.with_suffix(suffix)) for suffix in _SUFFIXES}
        write_json(path.with_suffix(".json"), digests)
        newest_last = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for old in newest_last[:-_MAX_NETWORKS]:
            for suffix in (".json", *_SUFFIXES):
                old.with_suffix(suffix).unlink(missing_ok=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # OpenVINO need not be installed on a machine with a GPU
        return ""
