"""The formats that headstart exports to. A new one is registered, and then chosen with ``--to NAME``."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import SettingsError, did_you_mean
from headstart.export.base import ExportFormat
from headstart.export.html_file import HtmlFormat
from headstart.export.onnx_file import OnnxFormat
from headstart.export.openvino_files import OpenVINOFormat
from headstart.export.torch_file import TorchFormat

__all__ = ["export_format", "format_names", "format_of_file", "register_export_format"]

_FORMATS: dict[str, ExportFormat] = {}


def register_export_format(made: ExportFormat) -> None:
    """Make a format available by its name; one of the same name is replaced."""
    _FORMATS[made.name] = made


def format_names() -> tuple[str, ...]:
    """The names of the formats, in the order of their registration.

    >>> format_names()[:2]
    ('onnx', 'openvino')
    """
    return tuple(_FORMATS)


def export_format(name: str) -> ExportFormat:
    """Return the format with this name.

    :raises SettingsError: no format of this name is registered.

    >>> export_format("onnx").suffix
    '.onnx'
    """
    if name not in _FORMATS:
        hint = did_you_mean(name, _FORMATS)
        raise SettingsError(f"--to must be one of {', '.join(sorted(_FORMATS))}, got {name!r}{hint}")
    return _FORMATS[name]


def format_of_file(path: Path) -> ExportFormat | None:
    """The format of an exported file; None if it is something else."""
    found = (each for each in _FORMATS.values() if path.suffix.lower() == each.suffix)
    return next((each for each in found if path.is_file() and each.recognizes(path)), None)


for _format in (OnnxFormat(), OpenVINOFormat(), TorchFormat(), HtmlFormat()):
    register_export_format(_format)
