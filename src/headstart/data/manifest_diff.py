"""What has happened to images since a manifest of them was written."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.data.manifest import Manifest

__all__ = ["ManifestDiff", "compare"]

_SHOWN = 20  # images of each kind that are named on a terminal


@dataclass(frozen=True)
class ManifestDiff:
    """The images that differ between two manifests, by their URIs."""

    changed: tuple[str, ...] = ()  # another content
    gone: tuple[str, ...] = ()  # listed no more, or missing
    new: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()  # the same content under another URI: (before, now)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.changed or self.gone or self.new or self.moved)

    def lines(self, most: int = _SHOWN) -> list[str]:
        """Text for a terminal: the numbers, then the names of up to ``most`` images of each kind."""
        if self.same:
            return ["no image has changed, is gone or is new"]
        moved = tuple(f"{old} -> {new}" for old, new in self.moved)
        kinds = {
            "changed since": self.changed,
            "gone": self.gone,
            "new": self.new,
            "moved": moved,
        }
        lines = [", ".join(f"{len(names):,} {kind}" for kind, names in kinds.items())]
        for kind, names in kinds.items():
            lines += [f"{kind}: {name}" for name in names[:most]]
            if len(names) > most:
                lines.append(f"{kind}: and {len(names) - most:,} more")
        return lines


def compare(before: Manifest, now: Manifest) -> ManifestDiff:
    """Compare two inspected manifests of the same images by content.

    An image that could be read before, and cannot be read at all now, is gone. One that had no hash before (it could
    not be read, or was not inspected) is not said to have changed.

    >>> before = Manifest.from_rows(["/a.jpg", "/b.jpg"]).with_column("hash", ["1", "2"])
    >>> compare(before, Manifest.from_rows(["/b.jpg", "/c.jpg"]).with_column("hash", ["3", "1"]))
    ManifestDiff(changed=('/b.jpg',), gone=(), new=(), moved=(('/a.jpg', '/c.jpg'),))
    """
    old = dict(zip(before.uris, before.hashes, strict=True))
    current = dict(zip(now.uris, now.hashes, strict=True))
    changed = tuple(uri for uri, content in current.items() if content and old.get(uri) not in (None, content))
    gone = [uri for uri, content in old.items() if uri not in current or (content and current[uri] is None)]
    appeared = {content: uri for uri, content in current.items() if content and uri not in old}
    moved = []
    for uri in gone:
        place = appeared.pop(old[uri] or "", None)
        if place is not None:
            moved.append((uri, place))
    left = {uri for uri, _ in moved}
    found = {uri for _, uri in moved}
    return ManifestDiff(
        changed,
        tuple(uri for uri in gone if uri not in left),
        tuple(uri for uri in current if uri not in old and uri not in found),
        tuple(moved),
    )
