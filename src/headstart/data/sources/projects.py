"""The image source of labelling projects: the images of ``headstart studio`` that have a label and can be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from headstart.data.sources.base import Content, FoundImage, Stamp
from headstart.data.sources.readings import ReadOptions, SourceReading
from headstart.data.uri import to_path
from headstart.description import LeftOut
from headstart.errors import DataError, ImageProblem, ProjectError

__all__ = ["PROJECT_FILE", "Projects"]

PROJECT_FILE = "project.sqlite"
"""The file by which the folder of a project is known."""


@dataclass(frozen=True)
class Projects:
    """The folder of a project. Its images have URIs of their own sources: those of files, mostly."""

    scheme: ClassVar[str] = "project"

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the labeled images.

        :raises DataError: there is no project, or it is damaged.
        """
        return self.read(root, ReadOptions()).images

    def read(self, root: str, options: ReadOptions) -> SourceReading:
        """Return the labeled images; where labels are not wanted, also those without a label.

        :raises DataError: as :meth:`list`, or options for tables or folders are given.
        """
        from headstart.data.projects import ImageQuery, Project  # which reads images by way of this package

        folder = to_path(root.removeprefix(f"{self.scheme}:"))
        columns = {name: value for name, value in options.columns.items() if value}
        given = {**columns, "folder_levels": options.levels, "split_folders": options.split_folders}
        if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, "none")]:
            raise DataError(f"{', '.join(names)} is given, but {folder} is a project of headstart studio")
        try:
            with Project.open(folder, read_only=True) as project:
                classes = {each.id: each.name for each in project.classes()}
                images = project.images(ImageQuery(limit=None)).images
        except ProjectError as error:
            raise DataError(str(error)) from error
        usable = [each for each in images if each.problem is None]
        if not options.table:
            return SourceReading([FoundImage(each.uri) for each in usable], "a project of headstart studio")
        rows = [FoundImage(each.uri, classes[each.class_id]) for each in usable if each.class_id is not None]
        if images and not rows:
            raise DataError(f"{folder}: none of its {len(images):,} images has a label yet: headstart studio {folder}")
        left_out = [
            LeftOut(f"{count:,} image{'s' * (count != 1)}", why)
            for count, why in ((len(usable) - len(rows), "not labeled"), (len(images) - len(usable), "with a problem"))
            if count
        ]
        return SourceReading(rows, "a project of headstart studio", left_out=tuple(left_out))

    def open(self, uri: str) -> Content:
        """No image has a URI of this scheme.

        :raises ImageProblem: always.
        """
        raise ImageProblem(uri, "a project is no image")

    def stamp(self, uri: str) -> Stamp | None:  # noqa: ARG002 - the method of a source
        """Nothing is known of a project as an image."""
        return None
