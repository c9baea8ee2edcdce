"""Networks that were converted for OpenVINO before: what is frozen is converted once, too.

Converting takes seconds, reading what it gave a fraction of one: benchmarks/predict.py tells its first run, which
converts, beside the others. A network is three files: NAME.xml and NAME.bin as
OpenVINO writes them, and NAME.json with their SHA-256, which is written last and without which the others count for
nothing. Only what gave the same values as torch is kept.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from headstart import __version__
from headstart.data.digests import file_digest
from headstart.data.spec import InputSpec
from headstart.files import replacing, write_json
from headstart.models.backbone import digest
from headstart.models.openvino_library import openvino, read_model

__all__ = ["beside", "keep", "kept", "place"]

_FORMAT = 2  # raised where what is kept of the same network changes
_MOST = 16  # networks that are kept; each is about as large as its weights
_KINDS = (".xml", ".bin")


def place(folder: Path, name: str, module: nn.Module, spec: InputSpec, batch: int) -> Path:
    """Where a network is kept that has this name, these weights and this input: a path without suffix."""
    versions = [__version__, *map(_version, ("torch", "timm", "openvino"))]
    facts = [_FORMAT, name, digest(module), repr(module), repr(spec), batch, versions]
    return folder / hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def beside(place: Path, name: str) -> Path:
    """Where another form of the network that belongs to this place is kept.

    >>> beside(Path("prepared/0f"), "int8").name
    '0f-int8'
    """
    return place.with_name(f"{place.name}-{name}")


def kept(place: Path) -> Any | None:
    """OpenVINO's model; None where there is none, or it is damaged."""
    with suppress(OSError, ValueError, RuntimeError):
        digests = json.loads(place.with_suffix(".json").read_text())
        if digests == {kind: file_digest(place.with_suffix(kind)) for kind in _KINDS}:
            return read_model(place.with_suffix(".xml"))
    return None


def keep(model: Any, place: Path) -> None:
    """Write the model; those that were written longest ago make room. That it cannot be written costs time alone."""
    with suppress(OSError, RuntimeError):
        with replacing(place.with_suffix(".xml")) as beside:
            openvino().save_model(model, beside, compress_to_fp16=False)
            beside.with_suffix(".bin").replace(place.with_suffix(".bin"))
        write_json(place.with_suffix(".json"), {kind: file_digest(place.with_suffix(kind)) for kind in _KINDS})
        latest = sorted(place.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for old in latest[:-_MOST]:
            for kind in (".json", *_KINDS):
                old.with_suffix(kind).unlink(missing_ok=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a machine with a GPU needs no OpenVINO
        return ""
