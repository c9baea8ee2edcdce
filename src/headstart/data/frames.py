"""Each frame of a file as an image of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from headstart.data.manifest import Manifest
from headstart.data.sources.frames import count_frames, frame_uri

__all__ = ["with_all_frames"]


def with_all_frames(manifest: Manifest) -> Manifest:
    """Return the manifest with a row for each frame of TIFF and DICOM files; other rows stay.

    The frames of a file have its label and split, and belong together: to the group of the file, else to the file.
    """
    counts = [count_frames(uri) for uri in manifest.uris]
    if max(counts, default=1) == 1:
        return manifest
    rows = [row for row, count in enumerate(counts) for _ in range(count)]
    numbers = [number for count in counts for number in range(count)]
    chosen, uris, groups = manifest.select(rows), manifest.uris, manifest.groups
    chosen = chosen.with_column(
        "uri",
        [
            uris[row] if counts[row] == 1 else frame_uri(uris[row], number)
            for row, number in zip(rows, numbers, strict=True)
        ],
    ).with_column("group", [groups[row] or (None if counts[row] == 1 else uris[row]) for row in rows])
    description = manifest.description
    if description is None:
        return chosen
    several = sum(count > 1 for count in counts)
    labels, splits = Counter(chosen.labels), Counter(chosen.splits)
    note = f"{several:,} files have {sum(count for count in counts if count > 1):,} frames, each of them an image"
    return chosen.described(
        replace(
            description,
            images=len(chosen),
            unlabeled=labels[None],
            classes=tuple((name, labels[name]) for name, _ in description.classes),
            splits=tuple(replace(each, images=splits[each.split]) for each in description.splits),
            groups=len({group for group in chosen.groups if group is not None}),
            notes=(*description.notes, note),
        )
    )
