"""The error for files that are intact but contain a network that cannot be converted."""

from __future__ import annotations

from headstart.errors import ModelError

__all__ = ["UnsupportedNetwork"]


class UnsupportedNetwork(ModelError):  # noqa: N818 - caught internally: other importers may still read the file
    """The network does not appear to be MobileNetV2."""
