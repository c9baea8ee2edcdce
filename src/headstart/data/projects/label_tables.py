"""Labels for the images of a project from a table, by the names that the images had when they were added."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from headstart.data.projects.project import Project
from headstart.data.projects.records import ImageQuery
from headstart.data.sources.folders import Tree
from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.tables import SUFFIXES, read_labels
from headstart.data.uri import printable
from headstart.errors import DataError

__all__ = ["TableLabels", "label_from_table"]

_SHOWN = 20  # names that are told


@dataclass(frozen=True)
class TableLabels:
    """What became of the rows of a table."""

    labeled: int  # images that got a label
    kept: int  # images that had another label, which they keep
    unknown: int  # rows whose name no image has, or several have
    unknown_names: tuple[str, ...]  # the first of them
    classes: tuple[str, ...]  # that were made
    columns: tuple[tuple[str, str], ...]  # (role, column) of those that were used
    notes: tuple[str, ...]  # what was guessed, and what is worth saying
    revision: int


def label_from_table(project: Project, name: str, content: bytes) -> TableLabels:
    """Label the images that a table names; those that have a label keep it. It is one change, which can be undone.

    :param name: of the file; its ending says what kind of table it is.
    :raises DataError: it is no table, its columns cannot be detected, or an image has two labels in it.
    """
    file = PurePosixPath(printable(name).replace("\\", "/")).name
    if not file.lower().endswith(SUFFIXES):
        raise DataError(f"{file}: a table of labels ends in {', '.join(SUFFIXES)}")
    ids: dict[str, list[int]] = defaultdict(list)
    named: dict[int, str | None] = {}
    names = {each.id: each.name for each in project.classes()}
    for image in project.images(ImageQuery(limit=None)).images:
        if image.problem is None:
            ids[image.name].append(image.id)
            named[image.id] = None if image.class_id is None else names[image.class_id]
    with tempfile.TemporaryDirectory(prefix="headstart-") as temporary:
        # The table is read beside the images as if they lay there under their names.
        folder = Path(temporary, "images")
        folder.mkdir()
        path = folder / file
        path.write_bytes(content)
        try:
            lookup = ImageLookup(folder, Tree(sorted(ids, key=lambda name: name.split("/")), []))
            table = read_labels(path, lookup=lookup)
            matches = lookup.match_all(table.ids)
            notes = [*table.notes, *map(str, (*table.guesses, *matches.guesses))]
        except DataError as error:
            raise DataError(_told(str(error), folder)) from error
    labels: dict[int, str] = {}
    unknown = []
    for given, label, files in zip(table.ids, table.labels, matches.files, strict=True):
        found = [image for each in files for image in ids[Path(each).relative_to(lookup.root).as_posix()]]
        if len(found) != 1:
            unknown.append(given)
        elif label is not None and labels.setdefault(found[0], label) != label:
            raise DataError(f"{file} gives {given!r} two labels: {labels[found[0]]!r} and {label!r}")
    change, made = project.label_by_name(labels, source="table")
    return TableLabels(
        labeled=len(change.images),
        kept=sum(named[image] not in (None, label) for image, label in labels.items()),
        unknown=len(unknown),
        unknown_names=tuple(unknown[:_SHOWN]),
        classes=made,
        columns=table.roles(),
        notes=tuple(_told(note, folder) for note in notes),
        revision=change.revision,
    )


def _told(text: str, folder: Path) -> str:
    """A message without the temporary folder."""
    return text.replace(f"{folder}/", "").replace(str(folder), "the project")
