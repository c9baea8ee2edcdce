"""What a project returns and takes, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Added",
    "Change",
    "Counts",
    "Duplicate",
    "ImageQuery",
    "ImageStep",
    "NewImage",
    "ProjectClass",
    "ProjectImage",
    "ProjectPage",
    "Show",
    "Source",
]

Show = Literal["all", "unlabeled", "labeled", "problems"]
Source = Literal["person", "suggestion", "folder", "table"]
"""Who or what gave a label: a person, a suggestion that a person accepted, the name of a folder, a table."""


@dataclass(frozen=True)
class ProjectClass:
    """A class and how many images have it."""

    id: int
    name: str
    count: int


@dataclass(frozen=True)
class ProjectImage:
    """An image and its present label. ``uri`` is absolute, also of an image that the project keeps itself."""

    id: int
    uri: str
    name: str  # for people: the path below the folder that was dropped or named
    hash: str | None  # of the content, as in a manifest; None if it cannot be read
    width: int | None  # upright, pixels
    height: int | None
    problem: str | None  # why it cannot be used; None if it can
    class_id: int | None
    source: str | None  # of the label


@dataclass(frozen=True)
class ImageQuery:
    """Which images, in which order.

    :param show: which; ``class_id`` further restricts them to a class.
    :param limit: at most so many; None: all.
    """

    show: Show = "all"
    class_id: int | None = None
    order: Literal["added", "name"] = "added"
    offset: int = 0
    limit: int | None = 200


@dataclass(frozen=True)
class ProjectPage:
    """Some images of a query, and how many it has in total."""

    total: int
    revision: int
    images: list[ProjectImage]


@dataclass(frozen=True)
class Counts:
    """How many images a project has; those with a problem are neither labeled nor unlabeled."""

    images: int = 0
    labeled: int = 0
    unlabeled: int = 0
    problems: int = 0


@dataclass(frozen=True)
class NewImage:
    """An image to add, after :func:`headstart.data.decode.inspect`.

    :param uri: absolute, or relative to the project for an image that lies in it.
    :param label: name of its class, which is made if it is new; None: not labeled.
    """

    uri: str
    name: str
    hash: str | None
    width: int | None
    height: int | None
    bytes: int | None
    problem: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Duplicate:
    """An image that was not added, since the project has one of the same content."""

    name: str
    image_id: int
    of: str  # name of the image that the project has


@dataclass(frozen=True)
class Change:
    """One change of a project. Its revision counts up from 1.

    :param kind: "import", "label", "accept", "reject", "add class", "rename class", "merge classes", "remove class",
        "undo" or "redo".
    :param text: what was done, for a person.
    :param images: ids of the images whose label changed, or that were added.
    """

    revision: int
    at: float  # seconds since 1970
    kind: str
    text: str
    images: tuple[int, ...] = ()
    undone: bool = False


@dataclass(frozen=True)
class ImageStep:
    """One change of the label of one image; None stands for no label."""

    revision: int
    at: float
    kind: str
    before: int | None
    after: int | None
    source: str | None


@dataclass(frozen=True)
class Added:
    """What became of images that were to be added."""

    ids: tuple[int, ...]
    duplicates: tuple[Duplicate, ...]
    problems: tuple[tuple[str, str], ...]  # (name, reason); these are in the project, too
    labeled: int
    classes: tuple[str, ...]  # names of those that were made
    change: Change | None  # None if nothing was added or labeled
