"""The finding that a file is sound and holds another network than those that are converted."""

from __future__ import annotations

from headstart.errors import ModelError

__all__ = ["OtherNetwork"]


class OtherNetwork(ModelError):  # noqa: N818 - a finding: the file may still be read by other means
    """Not MobileNetV2, as far as can be told."""
