"""OpenVINO graphs on disk: two files, with a digest of each. No torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from headstart.errors import ModelError
from headstart.files import atomic_write
from headstart.models.openvino_library import openvino, read_model

__all__ = ["GRAPH_FILES", "file_digest", "read_graph", "save_graph"]

GRAPH_FILES = ("frozen.xml", "frozen.bin")
"""OpenVINO's own format: operations, and their constants."""


def save_graph(graph: Any, folder: Path) -> dict[str, str]:
    """Write a graph into a folder; return the file names, each with its digest."""
    with atomic_write(folder / GRAPH_FILES[0]) as operations, atomic_write(folder / GRAPH_FILES[1]) as constants:
        openvino().serialize(graph, str(operations), str(constants))
        digests = [file_digest(each) for each in (operations, constants)]
    return dict(zip(GRAPH_FILES, digests, strict=True))


def read_graph(folder: Path, files: dict[str, str]) -> Any:
    """Read what :func:`save_graph` wrote.

    :param files: file names and digests, as returned by ``save_graph``.
    :raises ModelError: a file is missing, or its digest differs.
    """
    if sorted(files) != sorted(GRAPH_FILES):
        raise ModelError(f"its files are {', '.join(files) or 'none'}, must be {' and '.join(GRAPH_FILES)}")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise ModelError(f"{name} is missing")
        if file_digest(folder / name) != digest:
            raise ModelError(f"{name} is damaged, or belongs to another classifier")
    return read_model(folder / GRAPH_FILES[0])


def file_digest(path: Path, *more: bytes) -> str:
    """Return 32 hexadecimal digits of BLAKE2b over the bytes of a file and over ``more``."""
    total = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    for each in more:
        total.update(each)
    return total.hexdigest()
