"""Converting a network file of another framework into files that are read without further checks.

The folder has ``network.json``, the graph before the head (``frozen.xml``, ``frozen.bin``) and, if there is one, the
head (``head.npz``). No torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.data.spec import InputSpec
from headstart.description import Guess
from headstart.documents import read_document, write_document
from headstart.errors import ModelError, RunError
from headstart.models.importers.graphs.formats import GraphSource, openvino_message, read_source
from headstart.models.importers.graphs.graph import LinearLayer, SplitGraph, split_graph
from headstart.models.importers.graphs.graph_files import save_graph

__all__ = ["ConvertedNetwork", "convert", "read_conversion", "read_head"]

_DOCUMENT, _HEAD = "network.json", "head.npz"
_FORMAT = 2
_PIXELS = {"0:255": "RGB from 0 to 255", "0:1": "RGB from 0 to 1"}


@dataclass(frozen=True)
class ConvertedNetwork:
    """A network as it was read: everything but its numbers."""

    kind: str  # name of the format, for messages
    digest: str  # of the original file, or of all its files
    features: int  # D
    classes: int  # outputs of the head; 0 without one
    spec: InputSpec
    files: dict[str, str]  # of the graph, each with its digest
    facts: tuple[str, ...]  # how it was read, for people
    guesses: tuple[Guess, ...]  # readings that the file does not settle


def convert(path: Path, folder: Path) -> ConvertedNetwork:
    """Read a network file, split it before its last linear layer, and write both parts into ``folder``.

    :param path: an ONNX file, a TensorFlow SavedModel (its folder or ``.tar.gz``), or a whole Keras model.
    :raises ModelError: the file is damaged or unsafe, or the network cannot be used; the message names no file.
    """
    try:
        source = read_source(path)
        parts = split_graph(source.graph, channels_first=source.channels_first)
        files = save_graph(parts.prefix, folder)
    except RecursionError as failure:
        raise ModelError("damaged (nested too deeply)") from failure
    except (RuntimeError, UnicodeDecodeError) as failure:
        reason = (openvino_message(failure).strip().split("\n")[-1] or "no reason given")[:300]
        raise ModelError(f"OpenVINO cannot run it ({reason})") from failure
    if parts.head is not None:
        np.savez(folder / _HEAD, weight=parts.head.weight, bias=parts.head.bias)
    spec = replace(source.spec, height=parts.image.size[0], width=parts.image.size[1])
    if name := parts.image.pixel_range.name:
        spec = replace(spec.changed(range=name), channels="RGB")
    converted = ConvertedNetwork(
        kind=source.kind,
        digest=source.digest,
        features=parts.features,
        classes=0 if parts.head is None else len(parts.head.bias),
        spec=spec,
        files=files,
        facts=_facts(parts),
        guesses=_guesses(source, parts),
    )
    write_document(folder / _DOCUMENT, converted, version=_FORMAT)
    return converted


def read_conversion(folder: Path) -> ConvertedNetwork:
    """Read the description that :func:`convert` wrote.

    :raises RunError: it is missing or damaged.
    """
    return read_document(ConvertedNetwork, folder / _DOCUMENT, version=_FORMAT)


def read_head(folder: Path) -> LinearLayer:
    """Read the head that :func:`convert` wrote.

    :raises RunError: it is missing or damaged.
    """
    try:
        with (folder / _HEAD).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return LinearLayer(arrays["weight"], arrays["bias"])
    except Exception as failure:  # a damaged archive makes zipfile raise anything
        raise RunError(f"{folder / _HEAD}: damaged ({failure})") from failure


def _facts(parts: SplitGraph) -> tuple[str, ...]:
    image = parts.image
    layout = "channels first" if image.channels_first else "channels last"
    lines = [f"input {image.described}, {layout}; output {parts.output}"]
    if image.pixel_range.name:
        lines.append(f"pixels are shown as {_PIXELS[image.pixel_range.name]}, since {image.pixel_range.evidence}")
    return tuple(lines)


def _guesses(source: GraphSource, parts: SplitGraph) -> tuple[Guess, ...]:
    image, guesses = parts.image, []
    if not image.pixel_range.name:
        guesses.append(Guess(f"pixels are shown as {source.usual}", "--range or --channels"))
    share = f"images are resized so that their center, {source.spec.crop:.1%} of the shorter side, is shown"
    guesses.append(Guess(share, "--framing or --crop"))
    if not image.has_size:
        guesses.append(Guess(f"images are resized to {image.size[0]}x{image.size[1]} pixels", "--size"))
    if not image.has_layout:
        layout = "channels first" if image.channels_first else "channels last"
        guesses.append(Guess(f"the input is {layout}", "an export with a fixed input shape"))
    return tuple(guesses)
