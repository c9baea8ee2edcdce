"""Reading network files of other frameworks into OpenVINO graphs.

OpenVINO reads ONNX files and TensorFlow SavedModels itself: neither onnx nor tensorflow is needed, and of such a file
only operations known to OpenVINO are run. Keras files are read by Keras, in a separate process.

Error messages raised here do not name the file; the caller adds it.
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
from headstart.models.importers.graphs import keras_files, keras_process
from headstart.models.importers.graphs.graph_files import file_digest
from headstart.models.importers.keras.archives import read_tar
from headstart.models.openvino_library import read_model

__all__ = ["GraphSource", "is_onnx_file", "openvino_message", "read_source"]

_IMAGENET = InputSpec(crop=0.875, interpolation="bilinear")  # as torchvision, whose networks are exported most often
_UNIT_RANGE = replace(_IMAGENET, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # RGB in [0, 1], TF Hub's convention
_AS_TORCHVISION = "RGB, normalized with the mean and standard deviation of ImageNet"
_AS_TF_HUB = "RGB from 0 to 1"
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_INFORMATIVE = ("[TensorFlow Frontend]", "[ONNX Frontend]", "Conversion is failed", "No conversion rule")
_MAX_UNPACKED = 4 << 30  # bytes


@dataclass(frozen=True)
class GraphSource:
    """A graph as read from a file, with what its format implies but its operations do not state."""

    graph: Any
    digest: str  # of the file, or of all files
    kind: str  # name of the format, for messages
    channels_first: bool
    spec: InputSpec  # the usual input of such networks; the size comes from the graph
    usual: str  # what ``spec`` makes of the pixels, in words


def is_onnx_file(name: str) -> bool:
    """Whether ``name`` is the path of an ONNX file.

    >>> is_onnx_file("some/where/model.onnx"), is_onnx_file("resnet50")
    (True, False)
    """
    return name.endswith(".onnx")


def read_source(path: Path) -> GraphSource:
    """Read a network file.

    :raises ModelError: the file is damaged or unsafe, or contains something that OpenVINO or Keras does not know.
    """
    if is_onnx_file(path.name):
        return _read_onnx(path)
    if path.is_dir() or path.name.endswith(_ARCHIVES):
        return _read_saved_model(path)
    return _read_keras(path)


def _read_onnx(path: Path) -> GraphSource:
    graph = _read_graph(path, "the ONNX file")
    # Large networks store their weights in separate files: the digest must cover them.
    constants = (each.get_data().tobytes() for each in graph.get_ordered_ops() if each.get_type_name() == "Constant")
    digest = file_digest(path, *constants)
    return GraphSource(graph, digest, "ONNX", channels_first=True, spec=_IMAGENET, usual=_AS_TORCHVISION)


def _read_saved_model(path: Path) -> GraphSource:
    if path.is_dir():
        return _read_saved_model_folder(path)
    with tempfile.TemporaryDirectory(prefix="headstart-") as unpacked:
        for name, data in read_tar(path, _is_saved_model_member, limit=_MAX_UNPACKED).items():
            target = Path(unpacked, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        found = sorted(Path(unpacked).rglob("saved_model.pb"))
        if not found:
            raise ModelError("not a TensorFlow SavedModel: contains no saved_model.pb")
        return _read_saved_model_folder(found[0].parent)


def _read_saved_model_folder(folder: Path) -> GraphSource:
    graph = _read_graph(folder, "the SavedModel")
    total = hashlib.blake2b(digest_size=16)
    for each in sorted(file for file in folder.rglob("*") if file.is_file() and _is_saved_model_member(str(file))):
        total.update(f"{each.relative_to(folder).as_posix()} {file_digest(each)}\n".encode())
    return GraphSource(
        graph, total.hexdigest(), "TensorFlow SavedModel", channels_first=False, spec=_UNIT_RANGE, usual=_AS_TF_HUB
    )


def _is_saved_model_member(name: str) -> bool:
    return name.endswith("saved_model.pb") or "/variables/" in f"/{name}" or "/assets/" in f"/{name}"


def _read_keras(path: Path) -> GraphSource:
    config = keras_files.read_config(path)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        exported = keras_process.convert(path, Path(folder))
        graph = _read_graph(exported, "the graph that Keras exported")
        keras_process.check_answers(graph, path, Path(folder))
    spec, usual = keras_files.input_spec(config) or (_UNIT_RANGE, _AS_TF_HUB)
    return GraphSource(graph, file_digest(path), "Keras", channels_first=False, spec=spec, usual=usual)


def _read_graph(path: Path, what: str) -> Any:
    with _openvino_errors(what):
        return read_model(path)


@contextmanager
def _openvino_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (
        RuntimeError,
        UnicodeDecodeError,
    ) as failure:  # the only type that OpenVINO raises, or its message is not text
        raise ModelError(f"OpenVINO cannot read {what} ({_reason(openvino_message(failure))})") from failure


def openvino_message(failure: RuntimeError | UnicodeDecodeError) -> str:
    """The message of an error of OpenVINO, which quotes names in a file that need not be UTF-8."""
    if isinstance(failure, UnicodeDecodeError):
        return failure.object.decode(errors="replace")
    return str(failure)


def _reason(message: str) -> str:
    """The informative lines of a message that fills a page."""
    lines = [line.strip().removeprefix("-- ") for line in message.splitlines() if line.strip()]
    informative = [line for line in lines if line.startswith(_INFORMATIVE)]
    others = [line for line in lines if not line.startswith(("Exception from", "Check ", "Summary", "FrontEnd API"))]
    return "; ".join(dict.fromkeys(informative[-2:] or others[:1] or ["no reason given"]))[:300]
