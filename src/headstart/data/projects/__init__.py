"""A labelling project as data: images, classes and labels with their whole history, in one SQLite file."""

from __future__ import annotations

from headstart.data.projects.errors import ChangeRefused, NotInProject, ProjectInUse
from headstart.data.projects.project import Project
from headstart.data.projects.records import (
    Added,
    Change,
    Counts,
    Duplicate,
    ImageQuery,
    ImageStep,
    NewImage,
    ProjectClass,
    ProjectImage,
    ProjectPage,
)
from headstart.data.projects.schema import FILE_NAME, is_project

__all__ = [
    "FILE_NAME",
    "Added",
    "Change",
    "ChangeRefused",
    "Counts",
    "Duplicate",
    "ImageQuery",
    "ImageStep",
    "NewImage",
    "NotInProject",
    "Project",
    "ProjectClass",
    "ProjectImage",
    "ProjectInUse",
    "ProjectPage",
    "is_project",
]
