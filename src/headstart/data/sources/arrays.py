"""The image source of images in memory, arrays or encoded bytes, whose URIs are ``array:0``, ``array:1`` and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from headstart.data.sources.base import Content, FoundImage, Stamp
from headstart.errors import DataError, ImageProblem

__all__ = ["ArraySource"]


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Arrays by URI. A reference has a source of its own array alone, so that no other travels to a worker process."""

    scheme: ClassVar[str] = "array"
    arrays: Mapping[str, Content] = field(default_factory=dict)

    def list(self, root: str) -> Iterable[FoundImage]:
        """Arrays cannot be listed: :meth:`headstart.data.manifest.Manifest.from_arrays` takes them."""
        raise DataError(f"{root} names an array in memory: pass the arrays themselves")

    def open(self, uri: str) -> Content:
        """Return the array."""
        if uri not in self.arrays:
            raise ImageProblem(uri, "it was in memory only")
        return self.arrays[uri]

    def stamp(self, uri: str) -> Stamp | None:  # noqa: ARG002
        """Return None: arrays are always inspected."""
        return None
