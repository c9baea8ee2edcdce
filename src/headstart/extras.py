"""Packages that only some users need: the extras of ``pip install headstart[NAME]``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from headstart.errors import SettingsError

__all__ = ["require_extra"]


def require_extra(extra: str, packages: Sequence[str], *, what: str, otherwise: str = "") -> None:
    """Check that packages of an extra are installed, without importing them.

    :param what: needs them, for the message.
    :param otherwise: what else can be done, for the end of the message.
    :raises SettingsError: one is missing; the message has the command that installs it.

    >>> require_extra("onnx", ["numpy", "not_there"], what="--to onnx")
    Traceback (most recent call last):
    headstart.errors.SettingsError: --to onnx needs not_there: run "pip install headstart[onnx]"
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise SettingsError(f'{what} needs {", ".join(missing)}: run "pip install headstart[{extra}]"{otherwise}')
