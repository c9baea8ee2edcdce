"""Which files hold a network of another framework, and how each is read into an OpenVINO graph.

OpenVINO reads ONNX and TensorFlow's SavedModels by itself: neither onnx nor tensorflow is needed, and nothing in such
a file is run but the operations that OpenVINO knows. Keras's files are read by Keras, in a process of its own.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.foreign import keras_files
from headstart.models.foreign.frozen import file_digest
from headstart.models.keras.archives import read_tar
from headstart.models.openvino_library import read_model

__all__ = ["Source", "is_foreign_file", "read"]

_IMAGENET = InputSpec(crop=0.875, interpolation="bilinear")  # torchvision's own, whose networks are exported most
_UNIT = replace(_IMAGENET, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # RGB in [0, 1], which TF Hub agreed on
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_TELLING = ("[TensorFlow Frontend]", "[ONNX Frontend]", "Conversion is failed", "No conversion rule")
_LIMIT = 4 << 30  # bytes that an archive may hold unpacked


@dataclass(frozen=True)
class Source:
    """A graph as it was read, with what its format says and its operations do not."""

    graph: Any
    digest: str  # of the file, or of all files
    kind: str  # in words
    channels_first: bool
    spec: InputSpec  # what such networks usually want; its size is the graph's to say


def is_foreign_file(name: str) -> bool:
    """Whether ``name`` is the path of an ONNX file, which only this folder reads.

    >>> is_foreign_file("some/where/model.onnx"), is_foreign_file("resnet50")
    (True, False)
    """
    return name.endswith(".onnx")


def read(path: Path) -> Source:
    """Read a file.

    :raises ModelError: it is damaged, unsafe, or has what OpenVINO or Keras does not know.
    """
    if path.name.endswith(".onnx"):
        return _onnx(path)
    if path.is_dir() or path.name.endswith(_ARCHIVES):
        return _saved_model(path)
    return _keras(path)


def _onnx(path: Path) -> Source:
    graph = _read_model(path, "ONNX")
    # Large networks have their numbers in files beside.
    constants = (each.get_data().tobytes() for each in graph.get_ordered_ops() if each.get_type_name() == "Constant")
    return Source(graph, file_digest(path, *constants), "ONNX", channels_first=True, spec=_IMAGENET)


def _saved_model(path: Path) -> Source:
    if path.is_dir():
        return _saved_model_folder(path)
    with tempfile.TemporaryDirectory(prefix="headstart-") as unpacked:
        for name, data in read_tar(path, _is_of_saved_model, limit=_LIMIT).items():
            place = Path(unpacked, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        found = sorted(Path(unpacked).rglob("saved_model.pb"))
        if not found:
            raise ModelError("not a TensorFlow SavedModel: saved_model.pb is not in it")
        return _saved_model_folder(found[0].parent)


def _saved_model_folder(folder: Path) -> Source:
    graph = _read_model(folder, "the SavedModel")
    total = hashlib.blake2b(digest_size=16)
    for each in sorted(file for file in folder.rglob("*") if file.is_file() and _is_of_saved_model(str(file))):
        total.update(f"{each.relative_to(folder).as_posix()} {file_digest(each)}\n".encode())
    return Source(graph, total.hexdigest(), "TensorFlow SavedModel", channels_first=False, spec=_UNIT)


def _is_of_saved_model(name: str) -> bool:
    return name.endswith("saved_model.pb") or "/variables/" in f"/{name}" or "/assets/" in f"/{name}"


def _keras(path: Path) -> Source:
    found = keras_files.described(path)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        graph = _read_model(keras_files.converted(path, Path(folder)), "what Keras made of it")
    spec = keras_files.spec_of(found, _UNIT)
    return Source(graph, file_digest(path), "Keras", channels_first=False, spec=spec)


def _read_model(path: Path, what: str) -> Any:
    with _openvino_told(what):
        return read_model(path)


@contextmanager
def _openvino_told(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as failure:  # OpenVINO has no other type
        raise ModelError(f"OpenVINO cannot read {what} ({_reason(failure)})") from failure


def _reason(failure: RuntimeError) -> str:
    """The lines that tell something, of a page."""
    lines = [line.strip().removeprefix("-- ") for line in str(failure).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(_TELLING)]
    others = [line for line in lines if not line.startswith(("Exception from", "Check ", "Summary", "FrontEnd API"))]
    return "; ".join(dict.fromkeys(telling[-2:] or others[:1] or ["no reason given"]))[:300]
