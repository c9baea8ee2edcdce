"""The JSON that the studio reads and writes; the OpenAPI document is made from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from headstart.studio.learning_schemas import ExportView, LearningView, RunView

__all__ = [
    "Changed",
    "ClassInto",
    "ClassName",
    "ClassView",
    "Classes",
    "CountsView",
    "DuplicateView",
    "FolderAnswer",
    "FolderRequest",
    "History",
    "HistoryChange",
    "ImageDetails",
    "ImageRow",
    "ImagesAdded",
    "ImagesPage",
    "LabelRequest",
    "Labeled",
    "LabelsByImage",
    "LimitsView",
    "NumberedStep",
    "ProblemView",
    "ProjectView",
    "TableLabeled",
]

Id = Annotated[int, Field(ge=1, le=2**53 - 1)]  # JavaScript knows no larger whole numbers
_MOST = 1_000_000


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClassView(_Model):
    """A class and how many images have it."""

    id: int
    name: str
    count: int


class CountsView(_Model):
    """How many images the project has."""

    images: int
    labeled: int
    unlabeled: int
    problems: int


class LimitsView(_Model):
    """What the server accepts per request."""

    megabytes: int
    pixels: int
    files: int


class ProjectView(_Model):
    """The project: the same as the page shows at its top."""

    name: str
    folder: str
    revision: int
    model: str
    classes: list[ClassView]
    counts: CountsView
    can_undo: bool
    can_redo: bool
    limits: LimitsView
    folders: Annotated[list[str], Field(description="folders of this machine that a request may name")]
    learning: LearningView
    runs: Annotated[list[RunView], Field(description="newest first")]
    exports: list[ExportView]
    formats: Annotated[list[str], Field(description="to which a run can be exported")]
    importing: Annotated[
        dict[str, object] | None, Field(description="the last event of kind images: how far a folder has been read")
    ]


class SuggestionView(_Model):
    """The class that the live classifier predicts."""

    class_: Annotated[int, Field(alias="class")]
    probability: float

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class GuessView(SuggestionView):
    """A class with its name."""

    name: str


class NeighborView(_Model):
    """An image with similar features."""

    id: int
    hash: str | None
    cosine: float
    class_: Annotated[int | None, Field(alias="class")]

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ImageRow(_Model):
    """An image in a list."""

    id: int
    name: str
    hash: str | None
    width: int | None
    height: int | None
    class_: Annotated[int | None, Field(alias="class")]
    source: str | None
    suggestion: SuggestionView | None = None
    problem: str | None

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ImagesPage(_Model):
    """Some images of a list."""

    total: int
    revision: int
    images: list[ImageRow]


class NumberedStep(_Model):
    """One change of the label of an image."""

    revision: int
    at: Annotated[float, Field(description="seconds since 1970")]
    kind: str
    before: int | None
    after: int | None
    source: str | None


class ImageDetails(ImageRow):
    """What is known of one image."""

    uri: str
    history: list[NumberedStep]
    probabilities: Annotated[list[GuessView], Field(description="most probable first; empty before they are known")]
    neighbors: list[NeighborView]


class DuplicateView(_Model):
    """An image that was not added."""

    name: str
    id: Annotated[int, Field(description="of the image that the project has")]
    of: str


class ProblemView(_Model):
    """An image that cannot be used."""

    name: str
    reason: str


class ImagesAdded(_Model):
    """What became of uploaded files."""

    added: int
    images: list[int]
    duplicates: list[DuplicateView]
    problems: list[ProblemView]
    classes_added: list[str]
    labeled: int
    ignored: Annotated[int, Field(description="files that are no images")]
    revision: int


class TableLabeled(_Model):
    """What became of the rows of a table of labels."""

    labeled: int
    kept: Annotated[int, Field(description="images that had another label, which they keep")]
    unknown: Annotated[int, Field(description="rows whose name no image has, or several have")]
    unknown_names: list[str]
    classes_added: list[str]
    columns: dict[str, str]
    notes: list[str]
    revision: int


class FolderRequest(_Model):
    """A folder of this machine, below one that was named on the command line."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    labels: Literal["subfolders", "table", "none"] = "subfolders"


class FolderAnswer(_Model):
    """The folder is being read; events tell how far."""

    folder: str


class LabelRequest(_Model):
    """Images and the class that they have; null for no label."""

    images: Annotated[list[Id], Field(max_length=_MOST)]
    class_: Annotated[Id | None, Field(alias="class")]


class LabelsByImage(_Model):
    """Classes by image."""

    labels: Annotated[dict[Id, Id], Field(max_length=_MOST)]


class ClassName(_Model):
    """The name of a class."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]


class ClassInto(_Model):
    """The class that takes the images of another one."""

    into: Id


class Changed(_Model):
    """A change was made and is on the disk."""

    revision: int
    kind: str
    text: str


class Classes(Changed):
    """The classes after a change."""

    classes: list[ClassView]


class Labeled(Classes):
    """The counts and classes after a change."""

    counts: CountsView


class HistoryChange(Changed):
    """A change of the project."""

    at: float
    undone: bool


class History(_Model):
    """The last changes, newest first."""

    revision: int
    changes: list[HistoryChange]
